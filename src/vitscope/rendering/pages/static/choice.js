"use strict";
/* Which pictures of a report are shown, and in which order. Without it all are there, as given. */
(() => {
  const toolbar = document.querySelector(".toolbar");
  const { order, kind, judged } = toolbar.elements;
  const cards = [...document.querySelectorAll("article.card")];
  const links = [...document.querySelectorAll(".index li")];
  const start = document.createComment("pictures");
  cards[0].before(start);
  const sure = (index) => Number(cards[index].dataset.sure ?? -1);
  const word = (index) => cards[index].dataset.kind ?? "";
  const by = {
    given: (a, b) => a - b,
    unsure: (a, b) => sure(a) - sure(b),
    sure: (a, b) => sure(b) - sure(a),
    class: (a, b) => word(a).localeCompare(word(b)),
  };
  const shown = (index) => (!kind.value || word(index) === kind.value)
    && (!judged || !judged.value || cards[index].dataset.judged === judged.value);
  const apply = () => {
    const places = cards.map((_, index) => index).sort((a, b) => by[order.value](a, b) || a - b);
    let last = start;
    let count = 0;
    for (const index of places) {
      const there = shown(index);
      cards[index].hidden = !there;
      if (links[index]) {
        links[index].hidden = !there;
        links[index].parentNode.append(links[index]);
      }
      last.after(cards[index]);
      last = cards[index];
      count += there;
    }
    toolbar.querySelector(".counted").textContent = count === cards.length ? "" : `${count} of ${cards.length}`;
  };
  for (const select of [order, kind, judged]) select?.addEventListener("change", apply);
  apply(); /* a browser may keep what was chosen before a reload */
})();
