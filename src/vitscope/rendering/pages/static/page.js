"use strict";
/* Copy buttons and sortable tables. The page can be read in full without this script. */
(() => {
  document.documentElement.classList.add("js");
  const live = document.createElement("div");
  live.className = "live";
  live.setAttribute("role", "status");
  document.body.append(live);

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // A page opened from a file may have no clipboard: a selected text area still does.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "live";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const label = button.textContent;
    const done = await copied(button.dataset.copy);
    const code = button.parentElement.querySelector("code");
    if (!done && code) getSelection().selectAllChildren(code);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    live.textContent = done ? "Copied to the clipboard" : "Copying is not allowed here";
    if (done) button.focus();
    setTimeout(() => { button.textContent = label; }, 1600);
  });

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      head.querySelector("button")?.addEventListener("click", () => {
        const numeric = head.classList.contains("number");
        const was = head.getAttribute("aria-sort");
        const falling = was ? was === "ascending" : numeric;
        const body = table.tBodies[0];
        const key = (row) => {
          const cell = row.cells[place];
          return numeric ? Number.parseFloat(cell.dataset.value ?? "NaN") : cell.textContent.trim();
        };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => {
          if (!numeric) return (falling ? -1 : 1) * a.localeCompare(b, undefined, { numeric: true });
          // What has no value stays at the end, whichever way the rest is sorted.
          if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
          return (falling ? -1 : 1) * (a - b);
        });
        body.append(...rows.map(([, row]) => row));
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        live.textContent = `Sorted by ${head.textContent}, ${falling ? "descending" : "ascending"}`;
      });
    });
  }
})();
