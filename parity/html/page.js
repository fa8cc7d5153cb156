"use strict";
// Sorts a table by the column whose head is pressed, and shows a picture large.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const first = new Map([...body.rows].map((row, index) => [row, index]));
  const sort = (column, descending) => {
    const values = new Map(
      [...body.rows].map((row) => [row, row.cells[column].dataset.value ?? ""]),
    );
    const numeric = heads[column].dataset.kind === "number";
    const compare = (one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // what has no value stands last
      const order = numeric ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0;
      return (descending ? -order : order) || first.get(one) - first.get(other);
    };
    body.append(...[...body.rows].sort(compare));
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      // numbers begin with the largest, names with the first
      sort(column, now ? now === "ascending" : head.dataset.kind === "number");
    });
  });
}
const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll("button.picture")) {
  button.addEventListener("click", () => {
    const [small, large] = [button.querySelector("img"), dialog.querySelector("img")];
    large.src = small.src;
    large.alt = small.alt;
    dialog.querySelector("p").textContent = small.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
// a long table that is folded must be on paper, too
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
window.addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
