// Sends pictures to the server that the page came from, and draws what it answers. Every result is
// asked for once, with the least score that the slider reaches; all else happens here.
"use strict";

const LOWEST = 0.05; // least score that is asked for
const SEEN = 0.2; // height of a peak above which a joint is drawn, as on pictures of predict
const SIDES = { left: "#009eff", right: "#ff6a00", middle: "#40d658" };
const byId = (id) => document.getElementById(id);
const token = () => sessionStorage.getItem("token") || "";

let model = null;
let pictures = []; // {name, file, bitmap, rows, heat}
let current = null;
let stream = null;
let ready = null; // done when the server has told what it serves

// What is asked of the server -------------------------------------------------------------------

async function ask(path, body) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", body, headers });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.ok) return response;
  if (response.status === 401) byId("access").hidden = false;
  const told = await response.json().catch(() => ({}));
  const error = new Error(told.detail || `The server answered with status ${response.status}.`);
  error.status = response.status;
  throw error;
}

async function start() {
  try {
    model = await (await ask("model")).json();
  } catch (error) {
    byId("model").textContent = error.status === 401 ? "It waits for a token." : "";
    if (error.status !== 401) complain(error.message);
    return;
  }
  byId("access").hidden = true;
  complain("");
  const { names, engine } = model;
  const classes = names.length > 6 ? `${names.length} classes` : names.join(", ");
  byId("model").textContent =
    `${model.name} finds ${model.finds} of ${classes}; ${engine.name} on ${engine.device}`;
  byId("score").value = model.score;
  byId("score").disabled = model.asks && !model.finder;
  byId("heat-field").hidden = !model.heatmap;
  byId("classes").replaceChildren(...names.map(classChoice));
  const secret = token() ? ' \\\n  -H "Authorization: Bearer $HEATPOINT_TOKEN"' : "";
  byId("curl").textContent = `curl -F pictures=@photo.jpg -F score=${model.score} ` +
    `${new URL("predict", location)}${secret}\n` +
    `curl -F pictures=@photo.jpg -F draw=true -o found.jpg ${new URL("predict", location)}${secret}`;
  describe();
}

async function describe() {
  const { paths } = await (await ask("openapi.json")).json();
  const told = Object.entries(paths).flatMap(([path, ways]) => Object.entries(ways).flatMap(
    ([way, about]) => [make("dt", `${way.toUpperCase()} ${path}`), make("dd", about.description)]));
  byId("calls").replaceChildren(...told);
}

async function look(file, name) {
  complain("");
  await ready; // whoever is quicker than the model's card
  if (!model) return complain("Nothing is known of the model yet; is a token missing?");
  if (file.size > model.limits.bytes)
    return complain(`${name} has more than ${model.limits.bytes / 1e6} MB, which the server refuses.`);
  const picture = { name, file, rows: [], bitmap: null, heat: null };
  say(`Looking at ${name} …`);
  byId("stage").setAttribute("aria-busy", "true");
  const form = new FormData();
  form.append("pictures", file, name);
  if (!model.asks || model.finder) form.append("score", Math.min(LOWEST, model.score));
  try {
    const [answer, bitmap] = await Promise.all([
      ask("predict", form), createImageBitmap(file).catch(() => null)]);
    picture.rows = await answer.json();
    picture.bitmap = bitmap;
  } catch (error) {
    say("");
    return complain(error.message);
  } finally {
    byId("stage").removeAttribute("aria-busy");
  }
  if (!picture.bitmap)
    complain(`This browser cannot show ${name}; what is found in it stands in the table.`);
  pictures.push(picture);
  show(picture);
}

async function heatOf(picture) {
  if (picture.heat || !picture.bitmap) return;
  const form = new FormData();
  form.append("picture", picture.file, picture.name);
  const grey = await createImageBitmap(await (await ask("heatmap", form)).blob());
  const canvas = new OffscreenCanvas(grey.width, grey.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(grey, 0, 0);
  const image = pen.getImageData(0, 0, grey.width, grey.height);
  for (let i = 0; i < image.data.length; i += 4) {
    const level = image.data[i]; // from dark red by orange to light yellow, the weakest unseen
    const alpha = level < 4 ? 0 : Math.min(255, 50 + 1.4 * level);
    image.data.set([120 + level, 1.3 * level - 90, 0.5 * level, alpha], i); // which it clamps
  }
  pen.putImageData(image, 0, 0);
  picture.heat = canvas;
}

// What is shown -------------------------------------------------------------------------------

const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
const put = (id, text) => { if (byId(id).textContent !== text) byId(id).textContent = text; };
const say = (text) => put("status", text); // what has not changed is not read out again
const complain = (text) => put("problem", text);
const colourOf = (label) => `hsl(${(label * 137.5 + 210) % 360} 90% 60%)`;
const count = (rows) => {
  const word = model.finds === "points" ? "point" : model.skeleton ? "pose" : "object";
  return `${rows.length} ${word}${rows.length === 1 ? "" : "s"}`;
};

function classChoice(name, label) {
  const choice = document.createElement("label"), box = document.createElement("input");
  const colour = document.createElement("i");
  Object.assign(box, { type: "checkbox", checked: true, value: label });
  box.addEventListener("change", draw);
  colour.style.background = colourOf(label);
  choice.append(box, colour, name, make("b", ""));
  return choice;
}

function shownRows() {
  const least = byId("score").disabled ? 0 : Number(byId("score").value);
  const chosen = new Set([...byId("classes").querySelectorAll("input:checked")].map((box) => Number(box.value)));
  return current.rows.filter((row) => row.score >= least && chosen.has(row.category_id - 1));
}

function show(picture) {
  current = picture;
  byId("results").hidden = false;
  byId("pictures").hidden = pictures.length < 2;
  byId("pictures").replaceChildren(...pictures.map((each) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(make("span", each.name));
    if (each === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { show(each); byId("pictures").querySelector("[aria-current]").focus(); });
    return button;
  }));
  withHeat();
}

async function withHeat() {
  const wanted = current;
  if (byId("heat").checked) {
    try { await heatOf(wanted); } catch (error) { complain(error.message); }
  }
  if (wanted === current) draw();
}

function draw() {
  byId("score-shown").value = Number(byId("score").value).toFixed(2);
  if (!current) return;
  const rows = shownRows();
  tell(rows);
  const canvas = byId("view"), { bitmap } = current;
  canvas.hidden = !bitmap;
  if (!bitmap) return;
  canvas.setAttribute("aria-label", `${current.name} with ${count(rows)} drawn in`);
  // One unit is a pixel of the screen, whatever the picture's size.
  const room = canvas.parentElement.clientWidth - 32;
  const scale = Math.min(room / bitmap.width, Math.max(280, innerHeight * 0.72) / bitmap.height, 4);
  const dots = devicePixelRatio || 1;
  canvas.style.width = `${bitmap.width * scale}px`;
  canvas.width = Math.round(bitmap.width * scale * dots);
  canvas.height = Math.round(bitmap.height * scale * dots);
  const pen = canvas.getContext("2d");
  pen.scale(dots, dots);
  pen.imageSmoothingEnabled = scale < 2;
  pen.drawImage(bitmap, 0, 0, bitmap.width * scale, bitmap.height * scale);
  if (byId("heat").checked && current.heat) {
    pen.fillStyle = "rgb(0 0 0 / 45%)";
    pen.fillRect(0, 0, bitmap.width * scale, bitmap.height * scale);
    pen.drawImage(current.heat, 0, 0, bitmap.width * scale, bitmap.height * scale);
  }
  pen.lineJoin = "round";
  for (const row of [...rows].reverse()) drawRow(pen, row, scale); // the surest on top
  const written = []; // left, right and bottom of each text
  for (const row of rows) if (row.bbox && !row.points) writeRow(pen, row, scale, written);
}

function drawRow(pen, row, scale) {
  const label = row.category_id - 1, colour = colourOf(label);
  const at = (x, y) => [x * scale, y * scale];
  if (row.points) return dot(pen, ...at(...row.points), 3.5, colour);
  if (row.keypoints) drawJoints(pen, row, label, at);
  if (!row.bbox) return;
  const [x, y, width, height] = row.bbox;
  let corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
  if (row.segmentation) {
    const flat = row.segmentation[0];
    corners = [0, 2, 4, 6].map((n) => [flat[n], flat[n + 1]]);
  }
  pen.beginPath();
  corners.forEach((corner) => pen.lineTo(...at(...corner)));
  pen.closePath();
  stroke(pen, colour);
  if (row.segmentation) dot(pen, ...at(...corners[0]), 4, colour); // the first corner
}

function stroke(pen, colour, width = 2.5) {
  pen.strokeStyle = "rgb(0 0 0 / 70%)"; // seen on light and dark ground
  pen.lineWidth = width + 2;
  pen.stroke();
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke();
}

function dot(pen, x, y, radius, colour) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  stroke(pen, colour);
  pen.fillStyle = colour;
  pen.fill();
}

function writeRow(pen, row, scale, written) {
  const wide = parseFloat(pen.canvas.style.width), size = wide < 480 ? 11 : 13;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  const text = `${row.category_name} ${row.score.toFixed(2)}`;
  const width = pen.measureText(text).width + 8, height = size + 5;
  const left = Math.max(0, Math.min(row.bbox[0] * scale, wide - width));
  const covers = ([from, to, low]) => from < left + width && left < to && Math.abs(low - bottom) < height;
  let bottom = Math.max(height, row.bbox[1] * scale);
  for (let tries = 0; tries < 4 && written.some(covers); tries++) bottom += height;
  written.push([left, left + width, bottom]);
  pen.fillStyle = "rgb(0 0 0 / 78%)";
  pen.fillRect(left, bottom - height, width, height);
  pen.fillStyle = colourOf(row.category_id - 1);
  pen.fillRect(left, bottom - height, 3, height);
  pen.fillStyle = "#fff";
  pen.fillText(text, left + 6, bottom - 5);
}

function drawJoints(pen, row, label, at) {
  const { edges, sides, slices } = model.skeleton;
  const [first, last] = slices?.length ? slices[label] : [0, sides.length];
  const joint = (n) => row.keypoints.slice(3 * (n - first), 3 * (n - first) + 3);
  const place = ([x, y]) => at(x + 0.5, y + 0.5); // COCO counts pixels by their middles
  const drawn = (n) => n >= first && n < last && joint(n)[2] >= SEEN;
  for (const [one, other] of edges.filter((edge) => edge.every(drawn))) {
    pen.beginPath();
    pen.moveTo(...place(joint(one)));
    pen.lineTo(...place(joint(other)));
    stroke(pen, SIDES[sides[one] === sides[other] ? sides[one] : "middle"], 3);
  }
  for (let n = first; n < last; n++)
    if (drawn(n)) dot(pen, ...place(joint(n)), 3.5, SIDES[sides[n]]);
}

function tell(rows) {
  const counts = new Map();
  for (const row of rows) counts.set(row.category_id - 1, (counts.get(row.category_id - 1) || 0) + 1);
  for (const choice of byId("classes").children)
    choice.lastChild.textContent = counts.get(Number(choice.firstChild.value)) || "";
  say(`${count(rows)} of ${current.rows.length} shown in ${current.name}`);
  const places = { points: "x, y", quads: "x, y of four corners" };
  byId("place").textContent =
    model.skeleton ? "Joints seen" : places[model.finds] || "x, y, width, height";
  byId("body").replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.append(make("td", row.category_name), make("td", row.score.toFixed(2)), make("td", placeOf(row)));
    return line;
  }));
}

function placeOf(row) {
  const round = (numbers) => numbers.map((number) => Math.round(number)).join(", ");
  if (row.points) return round(row.points);
  if (row.segmentation) return round(row.segmentation[0]);
  if (!row.keypoints) return round(row.bbox);
  const seen = row.keypoints.filter((value, n) => n % 3 === 2 && value >= SEEN).length;
  return `${seen} of ${row.keypoints.length / 3}`;
}

// Where pictures come from ----------------------------------------------------------------------

async function take(files) {
  for (const file of files) await look(file, file.name || "pasted.png");
}

byId("choose").addEventListener("change", async (event) => {
  await take([...event.target.files]);
  event.target.value = "";
});
for (const kind of ["dragover", "dragenter"])
  addEventListener(kind, (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"])
  addEventListener(kind, () => byId("drop").classList.remove("over"));
addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
addEventListener("paste", (event) => take([...event.clipboardData.files]));

byId("camera").addEventListener("click", async () => {
  complain("");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return complain(`The camera cannot be used: ${error.message}.`);
  }
  byId("live").srcObject = stream;
  byId("shot").hidden = false;
  byId("take").focus();
});
byId("take").addEventListener("click", () => {
  const video = byId("live"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  if (!canvas.width) return complain("The camera shows nothing yet; try again in a moment.");
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => look(blob, "camera.png"), "image/png");
});
byId("stop").addEventListener("click", () => {
  stream?.getTracks().forEach((track) => track.stop());
  byId("shot").hidden = true;
  byId("camera").focus();
});
if (!navigator.mediaDevices) {
  byId("camera").disabled = true;
  byId("camera").title = "Browsers allow the camera for https and localhost only";
}

// What can be set -------------------------------------------------------------------------------

byId("score").addEventListener("input", draw);
byId("heat").addEventListener("change", withHeat);
for (const [id, checked] of [["all", true], ["none", false]])
  byId(id).addEventListener("click", () => {
    for (const box of byId("classes").querySelectorAll("input")) box.checked = checked;
    draw();
  });
byId("save").addEventListener("click", () => {
  const link = document.createElement("a");
  const text = JSON.stringify(shownRows(), null, 2);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `${current.name.replace(/\.\w+$/, "")}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
});
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  ready = start();
});
let width = 0; // drawing changes the height
new ResizeObserver(() => {
  if (width !== byId("stage").clientWidth && current) draw();
  width = byId("stage").clientWidth;
}).observe(byId("stage"));
ready = start();
