"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";

  // Everything that comes from a model or a user goes through here: text nodes, never markup.
  const el = (tag, cls, ...children) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
  };
  const bdi = (text) => el("bdi", "", text);
  // Direction marks and control characters are shown by number: as themselves they would rearrange the text around them.
  const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
  const show = (node, text) => {
    for (const part of text.split(new RegExp(`(${CONTROL.source})`))) {
      if (part.length === 1 && CONTROL.test(part)) {
        const code = part.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
        node.append(el("span", "ctl", `U+${code}`));
      } else if (part) node.append(part);
    }
    return node;
  };
  const number = (v, digits = 3) => {
    if (v === null || v === undefined) return "–";
    if (Number.isInteger(v) && Math.abs(v) < 1e6) return String(v).replace("-", "−");
    const places = Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(Math.abs(v)))));
    return v.toFixed(places).replace("-", "−");
  };
  const signed = (v) => (v === null ? "–" : (v > 0 ? "+" : "") + number(v));
  const withUnit = (v, unit) =>
    v === null || v === undefined ? "–" : unit === "share" ? `${number(100 * v)} %` : unit === "ratio" ? `${number(v)} ×` : `${number(v)}${unit ? " " + unit : ""}`;

  // --- curves -------------------------------------------------------------------------------------------------------
  const swatch = (run) => el("i", `swatch c-${data.runs[run].role}`);

  function reading(plot) {
    const panel = data.panels[plot.dataset.panel];
    const svg = plot.querySelector("svg");
    const steps = [...new Set(panel.curves.flatMap((c) => c.x))].sort((a, b) => a - b);
    const [left, right, top, bottom] = panel.box;
    const px = (x) => left + ((x - panel.x[0]) / (panel.x[1] - panel.x[0])) * (right - left);
    const py = (y) => bottom - ((y - panel.y[0]) / (panel.y[1] - panel.y[0])) * (bottom - top);
    const cursor = document.createElementNS(SVG, "g");
    cursor.setAttribute("class", "cursor");
    const tip = el("div", "tip");
    tip.setAttribute("role", "status");
    let at = -1;

    const hide = () => { cursor.remove(); tip.remove(); at = -1; };
    const move = (i) => {
      at = Math.max(0, Math.min(steps.length - 1, i));
      const step = steps[at];
      const x = px(step);
      const line = document.createElementNS(SVG, "line");
      for (const [k, v] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) line.setAttribute(k, v);
      cursor.replaceChildren(line);
      tip.replaceChildren(el("p", "", el("b", "", panel.xs ? `${panel.xn}: ${number(100 * step)} %` : panel.points && panel.xn === "training step" ? `after step ${step}` : `step ${step}`)));
      for (const c of panel.curves) {
        const j = c.x.indexOf(step);
        if (j < 0) continue;
        const drawn = (c.line || c.y)[j];
        if (drawn === null) continue;
        const dot = document.createElementNS(SVG, "circle");
        dot.setAttribute("class", `c-${data.runs[c.run].role}`);
        for (const [k, v] of Object.entries({ cx: x, cy: py(drawn), r: 4 })) dot.setAttribute(k, v);
        cursor.append(dot);
        const noise = c.low && c.low[j] !== null ? ` (${number(panel.unit === "share" ? 100 * c.low[j] : c.low[j])} to ${withUnit(c.high[j], panel.unit)})` : "";
        const single = c.line ? `, this step ${withUnit(c.y[j], panel.unit)}` : "";
        tip.append(el("p", "", el("span", "", swatch(c.run), bdi(data.runs[c.run].name)), el("span", "", el("b", "", withUnit(drawn, panel.unit)), el("small", "", noise + single))));
      }
      svg.append(cursor);
      if (!tip.parentNode) plot.append(tip);
    };
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * data.size[0];
      let best = 0;
      steps.forEach((s, i) => { if (Math.abs(px(s) - x) < Math.abs(px(steps[best]) - x)) best = i; });
      return best;
    };
    plot.addEventListener("pointermove", (e) => move(nearest(e)));
    plot.addEventListener("pointerdown", (e) => move(nearest(e)));
    plot.addEventListener("pointerleave", (e) => { if (e.pointerType === "mouse") hide(); });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (e) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[e.key];
      if (e.key === "Escape") hide();
      if (to === undefined) return;
      e.preventDefault();
      move(to);
    });
  }

  function numbers(details) {
    details.addEventListener("toggle", () => {
      if (!details.open || details.dataset.built) return;
      details.dataset.built = "yes";
      const keys = details.dataset.panels.trim().split(" ").filter(Boolean);
      for (const name of new Set(keys.map((key) => data.panels[key].xn))) {
        const columns = keys.filter((key) => data.panels[key].xn === name).flatMap((key) => data.panels[key].curves.map((c) => ({ ...c, key })));
        const steps = [...new Set(columns.flatMap((c) => c.x))].sort((a, b) => a - b);
        const head = el("tr", "", el("th", "", name === "training step" ? "step" : name), ...columns.map((c) => el("th", "", data.panels[c.key].title, el("br"), bdi(data.runs[c.run].name))));
        const rows = steps.map((s) => el("tr", "", el("th", "", String(s)), ...columns.map((c) => {
          const j = c.x.indexOf(s);
          return el("td", "", j < 0 || c.y[j] === null ? "" : String(c.y[j]));
        })));
        const box = el("div", "scroll", el("table", "", el("thead", "", head), el("tbody", "", ...rows)));
        box.tabIndex = 0;
        details.append(box);
      }
    });
  }

  // --- pictures -----------------------------------------------------------------------------------------------------
  function pointing(plot) {
    const { size, spots } = data.pictures[plot.dataset.picture];
    const svg = plot.querySelector("svg");
    const frame = document.createElementNS(SVG, "rect");
    frame.setAttribute("class", "spot");
    const tip = el("div", "tip");
    tip.setAttribute("role", "status");
    let at = -1;

    const hide = () => { frame.remove(); tip.remove(); at = -1; };
    const move = (i) => {
      at = Math.max(0, Math.min(spots.length - 1, i));
      const [x, y, width, height, says] = spots[at];
      for (const [k, v] of Object.entries({ x, y, width, height })) frame.setAttribute(k, v);
      const [head, ...lines] = says.split("\n");
      tip.replaceChildren(show(el("p"), ""), ...lines.map((line) => show(el("p"), line)));
      tip.firstChild.append(show(el("b"), head));
      svg.append(frame);
      if (!tip.parentNode) plot.append(tip);
    };
    const under = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * size[0];
      const y = ((event.clientY - box.top) / box.height) * size[1];
      return spots.findIndex(([a, b, w, h]) => x >= a && x < a + w && y >= b && y < b + h);
    };
    const point = (e) => { const i = under(e); if (i < 0) hide(); else if (i !== at) move(i); };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", (e) => { if (e.pointerType === "mouse") hide(); });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (e) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: spots.length - 1 }[e.key];
      if (e.key === "Escape") hide();
      if (to === undefined || !spots.length) return;
      e.preventDefault();
      move(to);
    });
  }

  // --- completions --------------------------------------------------------------------------------------------------
  const state = { run: 0, step: 0, group: 0, item: 0, mode: "planning" };
  const MODES = [["planning", "Planning"], ...(data.top ? [["both", "Planning and entropy"]] : []), ["entropy", "Entropy"], ["advantage", "Advantage"]];

  const labelled = (text, control) => {
    const label = el("label", "", text);
    control.id = `control-${text.toLowerCase()}`;
    label.htmlFor = control.id;
    return el("div", "", label, control);
  };
  const choice = (text, name, options, current, onChange) => {
    const seg = el("div", "seg");
    options.forEach(([value, shown, mark]) => {
      const input = el("input");
      input.type = "radio"; input.name = name; input.value = value; input.checked = value === current;
      input.addEventListener("change", () => onChange(value));
      seg.append(el("label", "", input, mark, bdi(shown)));
    });
    return el("fieldset", "", el("legend", "", text), seg);
  };
  const options = (select, texts, current) => {
    select.replaceChildren(...texts.map((text, i) => {
      const option = el("option", "", text);
      option.value = String(i);
      return option;
    }));
    select.value = String(current);
  };
  const clipped = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  const plain = (text) => show(el("span"), text.replace(/\s+/g, " ").trim()).textContent;

  function browser(root) {
    const usable = data.runs.map((r, i) => [r, i]).filter(([r]) => r.steps.length);
    if (!usable.length) return;
    document.documentElement.classList.add("ready");
    root.hidden = false;
    state.run = usable[0][1];
    state.step = data.runs[state.run].steps.length - 1;
    const stepSelect = el("select");
    const groupSelect = el("select");
    const picks = el("div", "picks");
    picks.setAttribute("role", "group");
    picks.setAttribute("aria-label", "Completions of this prompt");
    const promptBox = el("div", "prompt");
    const text = el("div", "text completion");
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", "Completion. Left and right arrows go from token to token, N and P from planning phrase to planning phrase.");
    const facts = el("aside", "facts");
    facts.setAttribute("role", "status");
    facts.setAttribute("aria-label", "Token");
    const legend = el("div", "legend");
    const controls = el("div", "controls");
    if (usable.length > 1) {
      controls.append(choice("Run", "run", usable.map(([r, i]) => [String(i), clipped(r.name, 40), swatch(i)]), String(state.run), (v) => {
        const step = data.runs[state.run].steps[state.step].step;
        const prompt = data.runs[state.run].steps[state.step].groups[state.group].id;
        state.run = Number(v);
        const steps = data.runs[state.run].steps;
        const same = steps.findIndex((s) => s.step === step);
        state.step = same >= 0 ? same : steps.length - 1;
        // the same prompt in the other run, where it has it: that is what one wants to compare
        state.group = Math.max(0, steps[state.step].groups.findIndex((g) => g.id === prompt));
        state.item = 0;
        update();
      }));
    }
    controls.append(labelled("Step", stepSelect), labelled("Prompt", groupSelect), choice("Colour by", "mode", MODES, state.mode, (v) => { state.mode = v; update(); }));
    root.append(controls, legend, el("div", "reader", picks, el("div", "", promptBox, text), facts));
    stepSelect.addEventListener("change", () => { state.step = Number(stepSelect.value); state.group = 0; state.item = 0; update(); });
    groupSelect.addEventListener("change", () => { state.group = Number(groupSelect.value); state.item = 0; update(); });

    let tokens = [];
    let active = -1;

    const advantageOf = (item, i) => item.a[item.i.length ? item.i[i] : 0] ?? null;

    function update() {
      const run = data.runs[state.run];
      const step = run.steps[state.step];
      const group = step.groups[state.group];
      const item = group.items[state.item];
      options(stepSelect, run.steps.map((s) => String(s.step)), state.step);
      options(groupSelect, step.groups.map((g, i) => `${i + 1} · ${clipped(plain(g.prompt), 34)}`), state.group);
      picks.replaceChildren(...group.items.map((c, i) => {
        const button = el("button", "pick", `reward ${number(c.r)}`, el("small", "", `${c.n} tokens`));
        button.type = "button";
        button.setAttribute("aria-pressed", String(i === state.item));
        button.addEventListener("click", () => { state.item = i; update(); picks.children[i].focus(); });
        return button;
      }));
      show(promptBox, "").replaceChildren();
      show(promptBox, group.prompt);
      promptBox.dir = "auto";
      text.className = `text completion ${state.mode}`;
      text.replaceChildren();
      tokens = item.t.map((index, i) => draw(item, i, data.strings[index]));
      item.p.forEach((_, k) => { if (k % 3 === 0) mark(run, item.p[k], item.p[k + 1], item.p[k + 2]); });
      tokens.forEach((t) => {
        if (t.lead && (state.mode === "planning" || state.mode === "both")) text.append(t.lead);
        else if (t.lead) t.node.prepend(t.lead); // shades touch: stripes would be read as data
        text.append(t.node);
      });
      if (item.t.length < item.n) text.append(el("span", "fine", ` … ${item.n - item.t.length} of ${item.n} tokens are not shown`));
      shade(item);
      if (state.mode === "both") forks(step, item);
      key(run, item);
      select(-1);
    }

    // A token's leading space stands outside its highlight, unless it goes on from the token before.
    function draw(item, i, string) {
      const node = el("span", "t");
      node.dataset.i = String(i);
      const space = /^\s*/.exec(string)[0];
      show(node, string.slice(space.length) || string);
      const lead = string.length > space.length && space ? document.createTextNode(space) : null;
      return { node, lead, gram: null, string };
    }

    function mark(run, start, end, gram) {
      const fact = run.grams[gram] || null;
      const role = fact && data.roles.includes(fact.f) ? fact.f : "planning";
      for (let i = start; i < Math.min(end, tokens.length); i++) {
        const t = tokens[i];
        t.gram = fact || { t: null, c: null, f: null };
        t.start = i === start;
        t.node.classList.add("m", `c-${role}`, `f-${role}`);
        if (i === start) t.node.classList.add("s");
        if (i === end - 1) t.node.classList.add("z");
        if (i > start && t.lead) { t.node.prepend(t.lead); t.lead = null; }
      }
    }

    // Planning by background, high entropy by a bar underneath: a token that is both shows both.
    function forks(step, item) {
      tokens.forEach((t, i) => {
        const high = step.h !== undefined && item.e && item.e[i] !== null && item.e[i] >= step.h;
        t.node.classList.toggle("h", Boolean(high));
      });
      const count = (found) => `${number((100 * found) / Math.max(1, tokens.length))} %`;
      const high = tokens.filter((t) => t.node.classList.contains("h"));
      const planning = tokens.filter((t) => t.gram);
      const both = high.filter((t) => t.gram);
      legend.replaceChildren(
        el("span", "both", el("span", "t m s z", "planning"), ` ${count(planning.length)}`),
        ...(step.h === undefined || !item.e
          ? [el("span", "", "No entropies were recorded.")]
          : [
              el("span", "both", el("span", "t h", `entropy in the top ${number(100 * data.top)} % of its step (${number(step.h / 1000)} nats or more)`), ` ${count(high.length)}`),
              el("span", "both", el("span", "t m s z h", "both"), ` ${count(both.length)}`),
            ]),
        el("span", "", "of this completion"));
    }

    function shade(item) {
      if (state.mode === "planning" || state.mode === "both") return;
      const values = tokens.map((_, i) => (state.mode === "entropy" ? (item.e ? item.e[i] : null) : advantageOf(item, i)));
      const top = Math.max(1e-9, ...values.map((v) => Math.abs(v ?? 0)));
      tokens.forEach((t, i) => {
        const v = values[i];
        if (v === null) return;
        t.node.classList.remove(...[...t.node.classList].filter((c) => c.startsWith("c-")));
        t.node.classList.add(state.mode === "entropy" ? "c-heat" : v >= 0 ? "c-positive" : "c-negative");
        t.node.style.setProperty("--a", `${Math.round((45 * Math.abs(v)) / top)}%`);
      });
    }

    function key(run, item) {
      if (state.mode === "both") return;
      legend.replaceChildren();
      if (state.mode === "planning") {
        const roles = new Set(tokens.filter((t) => t.gram).map((t) => (data.roles.includes(t.gram.f) ? t.gram.f : "planning")));
        [...data.roles, "planning"].filter((r) => roles.has(r)).forEach((r) => legend.append(el("mark", `c-${r} f-${r}`, r)));
        if (!roles.size) legend.append("There are no planning tokens in this completion.");
      } else if (state.mode === "entropy") {
        const top = item.e ? Math.max(...item.e.map((v) => v ?? 0)) / 1000 : null;
        legend.append(...(item.e ? [el("span", "", "0", el("i", "ramp entropy"), `${number(top)} nats`)] : ["The engine wrote no entropies."]));
      } else {
        const top = Math.max(...item.a.map((v) => Math.abs(v ?? 0)));
        legend.append(top ? el("span", "", `−${number(top)}`, el("i", "ramp advantage"), `+${number(top)}`) : "Every completion of this prompt has the same reward, so no token has any advantage.");
      }
      if (state.mode !== "planning") legend.append(el("span", "", "planning tokens are underlined"));
    }

    function select(i) {
      if (active >= 0 && tokens[active]) tokens[active].node.classList.remove("on");
      active = i;
      facts.replaceChildren();
      facts.classList.toggle("live", i >= 0);
      if (i < 0) {
        facts.append(el("p", "", "Point at a token, or tap it. With the keyboard: arrow keys walk, N and P jump to the next and previous planning phrase."));
        return;
      }
      const t = tokens[i];
      const item = data.runs[state.run].steps[state.step].groups[state.group].items[state.item];
      t.node.classList.add("on");
      const title = show(el("h3"), clipped(t.string.trim() || JSON.stringify(t.string), 120));
      const list = el("dl");
      const row = (name, value) => list.append(el("dt", "", name), value instanceof Node ? value : el("dd", "", value));
      row("Kind", t.gram ? "planning" : "execution");
      if (t.gram) {
        row("Gram", show(el("dd"), t.gram.t ?? "not recorded"));
        row("Cluster", show(el("dd"), t.gram.c ?? "none"));
        row("Function", show(el("dd"), t.gram.f ?? "unknown"));
      }
      row("Advantage", signed(advantageOf(item, i)));
      row("Entropy", item.e && item.e[i] !== null ? `${number(item.e[i] / 1000)} nats` : "not recorded");
      const logprob = item.l ? item.l[i] : null;
      row("Log-prob", logprob === null ? "not recorded" : `${number(logprob / 1000)} nats`);
      if (logprob !== null) row("Probability", `${number(100 * Math.exp(logprob / 1000))} %`);
      row("Position", `${i + 1} of ${item.n}`);
      facts.append(title, list);
      const hidden = t.node.getBoundingClientRect().bottom + 12 - facts.getBoundingClientRect().top;
      if (getComputedStyle(facts).position === "fixed" && hidden > 0) scrollBy(0, hidden); // the card must not cover its token
    }

    const indexOf = (event) => {
      const node = event.target.closest ? event.target.closest(".t") : null;
      return node ? Number(node.dataset.i) : -1;
    };
    text.addEventListener("pointerover", (e) => { const i = indexOf(e); if (i >= 0 && e.pointerType === "mouse") select(i); });
    text.addEventListener("click", (e) => select(indexOf(e)));
    text.addEventListener("keydown", (e) => {
      const phrases = tokens.map((t, i) => (t.start ? i : -1)).filter((i) => i >= 0);
      let to;
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      if (e.key === "ArrowRight") to = active + 1;
      else if (e.key === "ArrowLeft") to = active - 1;
      else if (e.key === "Home") to = 0;
      else if (e.key === "End") to = tokens.length - 1;
      else if (e.key === "n" || e.key === "N") to = phrases.find((i) => i > active);
      else if (e.key === "p" || e.key === "P") to = phrases.findLast((i) => i < active);
      else if (e.key === "Escape") to = -1;
      if (to === undefined) return;
      e.preventDefault();
      select(to < 0 ? (e.key === "Escape" ? -1 : 0) : Math.min(tokens.length - 1, to));
      if (active >= 0) tokens[active].node.scrollIntoView({ block: "nearest" });
    });
    document.addEventListener("pointerdown", (e) => {
      if (active >= 0 && e.pointerType !== "mouse" && !text.contains(e.target) && !facts.contains(e.target)) select(-1);
    });
    update();
  }

  document.querySelectorAll(".plot[data-panel]").forEach(reading);
  document.querySelectorAll(".plot[data-picture]").forEach(pointing);
  document.querySelectorAll("details.numbers").forEach(numbers);
  browser(document.getElementById("browser"));
})();
