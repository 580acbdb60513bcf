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
