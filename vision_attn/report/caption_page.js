const SIDE = 448;  // drawn pixels of a picture's longer side
const state = { image: 0, opacity: 0.65, caption: 0, word: null, held: false };
let canvas, ground, line;

// drawing
const pen2d = () => canvas.getContext("2d", { willReadFrequently: true });
function stroke(pen, width) {
  pen.lineWidth = width + 2; pen.strokeStyle = "rgba(0, 0, 0, 0.55)"; pen.stroke();
  pen.lineWidth = width; pen.strokeStyle = "#fff"; pen.stroke();
}
function draw() {
  const pen = pen2d(), image = content.images[state.image], caption = image.captions[state.caption];
  pen.putImageData(ground, 0, 0);
  mark();
  if (state.word === null) { line.textContent = ""; return; }
  if (caption.windows) trail(pen, caption); else paint(pen, caption);
  for (const [x, y] of caption.places ? caption.places[state.word] : []) {
    pen.beginPath();
    pen.arc(x * canvas.width, y * canvas.height, 7, 0, 2 * Math.PI);
    stroke(pen, 1.5);
  }
  line.textContent = `before "${caption.words[state.word]}"`;
}
function paint(pen, caption) {
  const { width, height } = canvas, [rows, columns] = caption.shape;
  const values = view(Uint8Array, caption.values), colours = view(Uint8Array, content.colours);
  const out = pen.createImageData(width, height), from = ground.data, to = out.data;
  const greyness = Math.min(1, state.opacity / 0.3), first = state.word * rows * columns;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const grey = 0.299 * from[at] + 0.587 * from[at + 1] + 0.114 * from[at + 2];
      const level = sample(values, first, caption.shape, (x + 0.5) / width, (y + 0.5) / height);
      const share = state.opacity * Math.sqrt(level / 255);
      for (let c = 0; c < 3; c++) {
        const under = from[at + c] + greyness * (grey - from[at + c]);
        const over = colours[3 * Math.round(level) + c];
        to[at + c] = (1 - share) * under + share * over;
      }
      to[at + 3] = 255;
    }
  }
  pen.putImageData(out, 0, 0);
}
function trail(pen, caption) {
  const { width, height } = canvas, way = caption.windows.slice(0, state.word + 1);
  pen.beginPath();
  way.forEach(([[x, y]], at) => pen[at ? "lineTo" : "moveTo"](x * width, y * height));
  stroke(pen, 1.5);
  const [[x, y], ...extents] = way[way.length - 1];
  for (const [wide, high] of extents) {
    pen.beginPath();
    pen.rect((x - wide / 2) * width, (y - high / 2) * height, wide * width, high * height);
    stroke(pen, 1.5);
  }
}

// the page
function mark() {
  for (const word of document.querySelectorAll("p.caption span")) {
    const now = +word.dataset.caption === state.caption && +word.dataset.word === state.word;
    word.setAttribute("aria-current", now);
  }
}
function choose(caption, word) {
  if (state.held) return;
  Object.assign(state, { caption, word });
  draw();
}
function sentence(caption, number) {
  const said = element("p", { className: "caption" });
  caption.words.forEach((word, at) => {
    const last = at === caption.words.length - 1 && caption.ended;
    const span = element("span", { textContent: word, tabIndex: 0, className: last ? "end" : "" });
    Object.assign(span.dataset, { caption: number, word: at });
    span.addEventListener("pointerenter", () => choose(number, at));
    span.addEventListener("pointerleave", () => choose(number, null));
    span.addEventListener("focus", () => choose(number, at));
    span.addEventListener("click", () => {
      const same = state.held && state.caption === number && state.word === at;
      state.held = false;
      choose(number, at);
      state.held = !same;
    });
    said.append(span, " ");
  });
  const told = element("p", { className: "told" });
  told.textContent = `log-probability ${caption.log_prob.toFixed(2)}${caption.ended ? "" : " · cut"}`;
  return [said, told];
}
async function show(place) {
  state.image = (place + content.images.length) % content.images.length;
  Object.assign(state, { caption: 0, word: null, held: false });
  const image = content.images[state.image], [height, width] = image.size;
  const scale = SIDE / Math.max(height, width);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  const source = element("img", { src: picture(image) });
  await source.decode();
  if (content.images[state.image] !== image) return;  // another key was pressed meanwhile
  canvas = element("canvas", size);
  const pen = pen2d();
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, size.width, size.height);
  ground = pen.getImageData(0, 0, size.width, size.height);
  const figure = element("figure"), text = element("figcaption"), sentences = element("div");
  line = element("div");
  text.append(element("b", { textContent: image.name }), line);
  figure.append(canvas, text);
  sentences.append(...image.captions.flatMap(sentence));
  $("main").replaceChildren(figure, sentences);
  draw();
  const more = content.total > content.images.length ? `, the first of ${content.total}` : "";
  $("place").textContent = `${state.image + 1} / ${content.images.length}${more}`;
  [...$("strip").children].forEach((button, at) => button.setAttribute("aria-current", at === state.image));
  $("strip").children[state.image].scrollIntoView({ block: "nearest", inline: "nearest" });
}
begin(draw);
