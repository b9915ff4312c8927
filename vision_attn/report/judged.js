// what pages that judge a network share: numbers, reliability diagrams, a table to sort
const told = () => content.evaluation;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const shareOf = (value) => (value === null ? "-" : percent(value));
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function numbers(plainly) {
  for (const [name, value, low, high] of told().numbers) {
    const line = element("div"), share = !plainly.includes(name);
    const write = (number) => (share ? (100 * number).toFixed(1) : number.toFixed(3));
    line.append(bold(`${write(value)}${share ? " %" : ""}`), `${name} (${write(low)}-${write(high)})`);
    $("numbers").append(line);
  }
  $("numbers").append(plain(`${told().images.toLocaleString("en")} ${told().judges}`));
}

function bars(canvas, bins) {
  const pen = pen2d(canvas), side = canvas.width, wide = side / bins.length;
  pen.clearRect(0, 0, side, side);
  bins.forEach(([images, confidence, accuracy], at) => {
    if (!images) return;
    const both = Math.min(confidence, accuracy), most = Math.max(confidence, accuracy);
    pen.fillStyle = confidence > accuracy ? "#E69F00" : "#56B4E9";
    pen.fillRect(at * wide + 1, side * (1 - most), wide - 2, side * most);
    pen.fillStyle = "#0072B2";
    pen.fillRect(at * wide + 1, side * (1 - both), wide - 2, side * both);
  });
  pen.strokeStyle = ink("--faint");
  pen.setLineDash([2, 4]);
  pen.beginPath();
  pen.moveTo(0, side);
  pen.lineTo(side, 0);
  pen.stroke();
  pen.setLineDash([]);
}
function binAt(event, bins) {
  const box = event.target.getBoundingClientRect();
  const at = Math.floor(((event.clientX - box.left) / box.width) * bins.length);
  return bins[Math.min(Math.max(at, 0), bins.length - 1)];
}

// `heads` tell the field of each column, `row` gives its cells; a heading sorts, a line is chosen
function sortable(title, rows, heads, row, choose = () => {}) {
  const table = element("table");
  const fill = (field, upwards) => {
    const top = element("tr"), sign = upwards ? 1 : -1;
    for (const [textContent, own] of Object.entries(heads)) {
      const cell = element("th", { textContent });
      cell.addEventListener("click", () => fill(own, own === field ? !upwards : true));
      top.append(cell);
    }
    const order = [...rows.keys()], value = (at) => rows[at][field];
    if (field) order.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
    const lines = order.map((at) => {
      const line = element("tr");
      line.dataset.at = at;
      line.append(...row(rows[at]));
      line.addEventListener("click", () => choose(at));
      return line;
    });
    table.replaceChildren(top, ...lines);
  };
  fill();
  $("classes").replaceChildren(element("h2", { textContent: title }), table);
}
