"use strict";
// The page is whole without this: it reads out charts under the pointer, sorts tables, and says
// where a table has columns out of sight.

const short = (value) => {
  const size = Math.abs(value);
  return size && (size < 0.01 || size >= 1e6) ? value.toExponential(2) : String(+value.toPrecision(4));
};

const nearest = (points, x) =>
  points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));

for (const plot of document.querySelectorAll(".plot[data-chart]")) {
  const { x: [low, high, name], series } = JSON.parse(plot.dataset.chart);
  const area = plot.querySelector(".area");
  const cross = plot.querySelector(".cross");
  const read = plot.closest("figure").querySelector(".read");
  const show = (event) => {
    const box = area.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const at = nearest(series[0].points, low + share * (high - low))[0];
    const told = series.map((one) => `${one.name} ${short(nearest(one.points, at)[1])}`);
    read.textContent = `${name} ${short(at)}: ${told.join(", ")}`;
    cross.style.left = `${(100 * (at - low)) / (high - low || 1)}%`;
    cross.hidden = false;
  };
  area.addEventListener("pointermove", show);
  area.addEventListener("pointerdown", show);
  area.addEventListener("pointerleave", () => {
    cross.hidden = true;
    read.textContent = "";
  });
}

const valueOf = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replaceAll(",", "").replace("−", "-"));
  return Number.isNaN(number) ? text.toLowerCase() : number;
};

const compare = (one, other) => {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? 1 : -1;
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => compare(valueOf(one, column), valueOf(other, column)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

for (const wide of document.querySelectorAll(".wide")) {
  const table = wide.querySelector(".scroll");
  const more = wide.querySelector(".more");
  const show = () => {
    const beyond = table.scrollWidth - table.clientWidth;
    more.hidden = beyond < 2;
    more.style.opacity = beyond - table.scrollLeft < 2 ? 0 : 1; // the page must not jump
  };
  table.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(table); // a fold that opens is a resize, too
}
