"use strict";
/* How maps are shown, reading their values, and the flow player. Without it every map and block is still there. */
(() => {
  const body = document.body;
  const root = document.documentElement;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const number = (value) => {
    if (value === null) return "no value";
    return (value === 0 ? "0" : String(Number(value.toPrecision(3)))).replaceAll("-", "−");
  };

  const toolbar = document.querySelector(".toolbar");
  const apply = () => {
    body.dataset.view = toolbar.elements.view.value;
    root.style.setProperty("--strength", toolbar.elements.strength.value / 100);
    root.style.setProperty("--cell-smoothing", toolbar.elements.smooth.checked ? "auto" : "pixelated");
    toolbar.elements.strength.disabled = body.dataset.view !== "overlay";
  };
  toolbar.addEventListener("input", apply);
  toolbar.addEventListener("submit", (event) => event.preventDefault());
  apply();

  /* Each map knows its values; a flow's player shows those of the block it stands at. */
  const cells = new Map();
  for (const figure of document.querySelectorAll("figure.map:not(.plain)")) {
    const block = figure.querySelector(":scope > .cells") ?? figure.closest(".flow").querySelector(":scope > .cells");
    const data = JSON.parse(block.textContent);
    cells.set(figure, Array.isArray(data) ? () => data : () => data.values[Number(figure.dataset.block)]);
  }

  /* Pointing at a cell marks the same cell in every map of the card, with each map's own value. */
  const clear = (card) => {
    card.querySelectorAll(".cursor").forEach((mark) => mark.remove());
    card.querySelectorAll(".readout").forEach((readout) => { readout.textContent = ""; });
  };
  const point = (card, across, down) => {
    clear(card);
    for (const figure of card.querySelectorAll("figure.map")) {
      const stack = figure.querySelector(":scope > .stack");
      const values = cells.get(figure)?.() ?? cells.get(card.querySelector("figure.map:not(.plain)"))?.();
      if (!values) continue;
      const [top, left, bottom, right] = stack.dataset.extent.split(" ").map(Number);
      const row = Math.floor(((down - top) / (bottom - top)) * values.length);
      const column = Math.floor(((across - left) / (right - left)) * values[0].length);
      if (!(row in values && column in values[0])) continue;
      const mark = document.createElement("span");
      mark.className = "cursor";
      Object.assign(mark.style, {
        left: `${100 * (left + ((right - left) * column) / values[0].length)}%`,
        top: `${100 * (top + ((bottom - top) * row) / values.length)}%`,
        width: `${(100 * (right - left)) / values[0].length}%`, height: `${(100 * (bottom - top)) / values.length}%`,
      });
      stack.append(mark);
      const readout = figure.querySelector(".readout");
      if (readout) readout.textContent = `${row + 1}, ${column + 1}: ${number(values[row][column])}`;
    }
  };
  for (const card of document.querySelectorAll(".card")) {
    card.addEventListener("pointermove", (event) => {
      const stack = event.target.closest("figure.map > .stack");
      if (!stack) return clear(card);
      const box = stack.getBoundingClientRect();
      point(card, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    });
    card.addEventListener("pointerleave", () => clear(card));
  }

  /* The table of a map is built when it is opened. */
  const fill = (details) => {
    const values = cells.get(details.closest("figure.map"))();
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    head.append(document.createElement("td"));
    const named = (text, scope) => {
      const cell = document.createElement("th");
      cell.scope = scope;
      cell.textContent = text;
      return cell;
    };
    values[0].forEach((_, column) => head.append(named(column + 1, "col")));
    const rows = table.createTBody();
    values.forEach((line, row) => {
      const made = rows.insertRow();
      made.append(named(row + 1, "row"));
      for (const value of line) made.insertCell().textContent = number(value);
    });
    const frame = document.createElement("div");
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", "Values of the map, rows by columns");
    frame.append(table);
    details.querySelector("div")?.remove();
    details.append(frame);
  };
  document.querySelectorAll("details.values").forEach((details) => {
    details.addEventListener("toggle", () => { if (details.open) fill(details); });
  });

  /* The flow player. */
  const players = [...document.querySelectorAll(".flow")].map((flow) => {
    const { names, places } = JSON.parse(flow.querySelector(":scope > .cells").textContent);
    const figure = flow.querySelector(".player");
    const layer = figure.querySelector(".layer");
    const thumbs = [...flow.querySelectorAll(".strip button")];
    const slider = figure.querySelector(".controls input");
    const play = figure.querySelector(".play");
    const ends = [...figure.querySelectorAll(".ends span")];
    const stack = figure.querySelector(".stack");
    const kept = thumbs.map((thumb) => thumb.querySelector("img").src);
    const alt = stack.getAttribute("aria-label").split(" after ")[0];
    let at = thumbs.length - 1;
    let timer = 0;

    const show = (block) => {
      at = Math.max(0, Math.min(thumbs.length - 1, block));
      figure.dataset.block = at;
      const own = flow.querySelector(".segments input:checked").value === "own";
      thumbs.forEach((thumb, index) => {
        const image = thumb.querySelector("img");
        const source = own ? image.dataset.own : kept[index];
        if (image.src !== source) image.src = source;
        if (index === at) thumb.setAttribute("aria-current", "true");
        else thumb.removeAttribute("aria-current");
      });
      const image = thumbs[at].querySelector("img");
      layer.src = image.src;
      const told = (own ? image.dataset.ownBar : image.dataset.bar).split("|");
      ends.forEach((end, index) => { end.textContent = told[index]; });
      ends[1].parentElement.style.setProperty("--middle", told[3]);
      figure.querySelector(".ramp > span").style.background = told[4];
      slider.value = at + 1;
      const place = places[at];
      slider.setAttribute("aria-valuetext", place);
      figure.querySelector(".where").textContent = place;
      stack.setAttribute("aria-label", `${alt} after ${names[at]}`);
      const table = figure.querySelector("details.values");
      if (table.open) fill(table);
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
    };
    const start = () => {
      if (at === thumbs.length - 1) show(0);
      play.textContent = "Pause";
      timer = setInterval(() => {
        show(at + 1);
        if (at === thumbs.length - 1) stop();
      }, 420);
    };
    play.addEventListener("click", () => (timer ? stop() : start()));
    slider.addEventListener("input", () => { stop(); show(Number(slider.value) - 1); });
    figure.querySelectorAll("[data-step]").forEach((button) => {
      button.addEventListener("click", () => { stop(); show(at + Number(button.dataset.step)); });
    });
    thumbs.forEach((thumb, index) => thumb.addEventListener("click", () => { stop(); show(index); }));
    figure.querySelectorAll(".segments input").forEach((radio) => radio.addEventListener("change", () => show(at)));
    figure.addEventListener("keydown", (event) => {
      if (event.target.matches("button, summary, input[type=range], .values *") && event.key === " ") {
        if (!event.target.matches("input[type=range]")) return;
      }
      if (event.key === " " || event.key === "k") {
        event.preventDefault();
        if (timer) stop(); else start();
      }
    });
    show(at);
    return { figure, start, busy: () => timer !== 0 };
  });

  /* The first flow plays once when it comes into view, under five seconds; never for those who asked for less motion. */
  if (players.length && !calm.matches) {
    const first = players[0];
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      if (!first.busy()) first.start();
    }, { threshold: 0.8 });
    seen.observe(first.figure.querySelector(".stack"));
  }
})();
