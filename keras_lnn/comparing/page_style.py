"""The style sheet of the comparison page and its script for sorting tables, as text embedded in the page."""

STYLE = """\
:root { --ink: #1d2329; --soft: #59626b; --line: #d9dee3; --link: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 20px 0 4px; }
header p { color: var(--soft); margin: 0; max-width: 80ch; }
p, li { max-width: 90ch; overflow-wrap: anywhere; }
ul { margin: 6px 0; padding-left: 22px; }
li { margin: 4px 0; }
.caution { margin: 8px 0; padding: 6px 12px; border-left: 4px solid #e69f00; background: #fdf6e7; }
.scroll { overflow-x: auto; }
/* Shadows at the edges beyond which there is more; the white covers them at the ends. */
.scroll {
  background:
    linear-gradient(to right, #fff 30%, #fff0) 0 0 / 32px 100% local no-repeat,
    linear-gradient(to left, #fff 30%, #fff0) 100% 0 / 32px 100% local no-repeat,
    linear-gradient(to right, #0003, #0000) 0 0 / 12px 100% scroll no-repeat,
    linear-gradient(to left, #0003, #0000) 100% 0 / 12px 100% scroll no-repeat;
}
.scroll:focus-visible, summary:focus-visible, th button:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; margin: 12px 0; }
caption { text-align: left; color: var(--soft); padding-bottom: 4px; }
th, td { padding: 4px 8px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, .text { text-align: left; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--soft); white-space: normal; }
tbody th { font-weight: 600; position: sticky; left: 0; background: #fff; }
tbody th { max-width: 16rem; overflow-wrap: break-word; white-space: normal; }
small { display: block; color: var(--soft); font-size: .75rem; line-height: 1.2; }
tbody tr:hover td, tbody tr:hover th { background: #f3f6f9; }
th button { all: unset; cursor: pointer; }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
figure { margin: 16px 0 24px; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .875rem; }
summary { cursor: pointer; color: var(--link); margin: 8px 0; }
@media (max-width: 600px) {
  main { padding: 16px 12px 48px; }
  th, td { padding: 4px 6px; }
  tbody th { max-width: 9rem; }
}
@media print { .scroll { overflow: visible; } }
"""

SCRIPT = """\
// Sorts a table by the column whose heading is chosen; without scripts the tables stay in their order.
const amount = (text) => parseFloat(text.replace("−", "-").replace(/[<,]/g, ""));
for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const table = heading.closest("table");
    const falling = heading.getAttribute("aria-sort") !== "descending";
    const column = heading.cellIndex;
    const order = (left, right) => {
      const [one, other] = [left, right].map((row) => row.cells[column].textContent);
      const numbers = [amount(one), amount(other)];
      if (!numbers.some(Number.isNaN)) return numbers[0] - numbers[1];
      if (numbers.every(Number.isNaN)) return other.localeCompare(one);
      return Number.isNaN(numbers[0]) ? -1 : 1;
    };
    const rows = [...table.tBodies[0].rows].sort(order);
    table.tBodies[0].append(...(falling ? rows.reverse() : rows));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  });
}
"""
