// Moves the threshold of the explorer: all numbers were counted before, a step is a look-up.
(function () {
  const place = document.querySelector("#explorer");
  if (!place) return;
  const data = JSON.parse(document.querySelector("#explorer-data").textContent);
  const find = (name) => place.querySelector(`[data-part="${name}"]`);
  const slider = find("slider"), choice = find("method"), buttons = [...place.querySelectorAll("[data-preset]")];
  let preset = null, accepted = 0;

  const number = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value);
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");
  const count = (value) => value.toLocaleString("en");
  const method = () => data.methods[choice ? Number(choice.value) : 0];
  const short = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(4))) : value > 0 ? "∞" : "−∞");

  function state() {
    const of = method(), name = of.name, step = Number(slider.value);
    const written = of.thresholds[step], threshold = number(written), accepted = of.accepted[step], lost = of.lost[step];
    const risk = !accepted ? null : data.classes ? lost / accepted : Math.sqrt(lost / accepted);
    const ood = of.ood ? data.ood - of.ood[step] : null;
    return { name, of, written, threshold, accepted, lost, risk, ood, refused: data.examples - accepted };
  }

  function python(now) {
    const chosen = preset && now.of.presets[preset];
    const limit = Number.isFinite(now.threshold) ? String(now.threshold) : `float("${now.written}")`;
    const lines = chosen
      ? ["import duda", "", `# ${chosen.summary}`, `gate = ${chosen.code}.fit(held_out, y_held_out)`, "accepted = gate(answer).accepted", "", `# or with the threshold found here, of ${now.name}:`]
      : [`# of ${now.name}: ${now.of.unit}, higher is less sure`];
    return [...lines, `accepted = answer.score <= ${limit}`].join("\n");
  }

  function json(now) {
    const content = {
      method: now.name,
      score: now.of.unit,
      threshold: now.written,
      gate: preset ? now.of.presets[preset].code : null,
      examples: data.examples,
      accepted: now.accepted,
      [data.classes ? "wrong_among_accepted" : "squared_error_of_accepted"]: now.lost,
    };
    if (data.ood) Object.assign(content, { ood: data.ood, ood_refused: now.ood });
    return JSON.stringify(content, null, 1);
  }

  function looks(now) {
    const waiting = now.of.looks.filter((each) => number(each.score) > now.threshold);
    const list = find("looks");
    if (!list) return;
    list.replaceChildren(
      ...waiting.slice(0, 8).map((each) => {
        const item = document.createElement("li"), image = document.createElement("img"), says = document.createElement("div");
        image.src = data.pictures[each.index];
        image.alt = `test picture ${each.index}`;
        says.className = each.wrong ? "says wrong" : "says";
        says.textContent = `${each.wrong ? "✗ " : ""}${each.says}`;
        item.append(image, says);
        return item;
      }),
    );
    const kept = `this page keeps ${now.of.looks.length} of the less sure half`;
    find("kept").textContent = waiting.length
      ? `${list.children.length} of the ${count(now.refused)} refused; ${kept}.`
      : now.refused ? `None of the refused are at hand; ${kept}.` : "Nothing is refused.";
  }

  function show() {
    const now = state();
    accepted = now.accepted;
    find("threshold").textContent = now.accepted ? short(now.threshold) : "none accepted";
    find("unit").textContent = now.of.unit;
    slider.setAttribute("aria-valuetext", `accepts ${percent(now.accepted, data.examples)}, threshold ${find("threshold").textContent}`);
    find("coverage").textContent = percent(now.accepted, data.examples);
    find("accepted").textContent = `${count(now.accepted)} of ${count(data.examples)} test examples`;
    find("risk").textContent = now.risk === null ? "–" : data.classes ? percent(now.lost, now.accepted) : short(now.risk);
    find("lost").textContent = data.classes ? `${count(now.lost)} of ${count(now.accepted)} accepted` : "root mean squared error";
    if (data.ood) {
      find("ood").textContent = percent(now.ood, data.ood);
      find("ood-count").textContent = `${count(now.ood)} of ${count(data.ood)} (${data.oodName})`;
    }
    find("refused").textContent = count(now.refused);
    find("caught").textContent = data.classes ? `${count(now.of.lost.at(-1) - now.lost)} of them would have been wrong` : "the least sure";
    for (const button of buttons) {
      const found = now.of.presets[button.dataset.preset];
      button.setAttribute("aria-pressed", button.dataset.preset === preset);
      button.disabled = !("threshold" in found);
      button.title = found.summary || found.refused;
    }
    find("guarantee").textContent = preset ? now.of.presets[preset].summary : "A threshold of your own carries no guarantee.";
    find("python").textContent = python(now);
    find("json").textContent = json(now);
    looks(now);
  }

  function take(name) {
    const of = method(), found = of.presets[name];
    preset = found && "threshold" in found ? name : null;
    if (preset) slider.value = of.thresholds.findIndex((value) => number(value) === number(found.threshold));
    show();
  }

  // Another method has another scale: what stays is the gate, or how many are accepted.
  function changed() {
    const of = method();
    slider.max = of.thresholds.length - 1;
    const last = of.accepted.findLastIndex((value) => value <= accepted);
    slider.value = Math.max(last, 0);
    take(preset);
  }

  async function copy(button) {
    const source = find(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = button.dataset.label), 2000);
  }

  slider.addEventListener("input", () => {
    preset = null;
    show();
  });
  if (choice) choice.addEventListener("change", changed);
  for (const button of buttons) button.addEventListener("click", () => take(button.dataset.preset));
  for (const button of place.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  slider.max = method().thresholds.length - 1;
  take(buttons[0].dataset.preset);
})();
