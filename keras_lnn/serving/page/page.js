"use strict";

const SHOWN = 24;
const BY_BROWSER = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
const part = (id) => document.getElementById(id);
let model = null;
let chosen = [];
let running = null;
let addresses = [];

function make(name, content, properties) {
  const element = Object.assign(document.createElement(name), properties || {});
  for (const child of [content].flat()) {
    if (child !== undefined && child !== null) element.append(child);
  }
  return element;
}

const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 2 : 1)}%`;
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 2 : 1)} MB`;
const source = (picture) => `data:${picture.type};base64,${picture.data}`;

function describeSize() {
  const [first, ...rest] = model.shape.slice(0, -1);
  if (model.reads === "series") return `series of up to ${first} frames of ${rest.join("x")} pixels`;
  return `${model.reads} of ${[first, ...rest].join("x")} ${model.reads === "volumes" ? "voxels" : "pixels"}`;
}

async function describe() {
  const response = await fetch("model");
  model = await response.json();
  const size = describeSize();
  document.title = `${model.model} - keras-lnn serve`;
  part("title").textContent = model.model;
  part("about").textContent = `${model.network}, trained on ${model.data}; reads ${size}, predicts ${model.predicts} of ${model.classes.join(", ")}.`;
  const [heading, ...rest] = model.notice.split(": ");
  part("notice").replaceChildren(make("strong", heading), `: ${rest.join(": ")}`);
  const kinds = { images: "PNG, JPEG, TIFF, DICOM or NIfTI; each file is one image", volumes: "NIfTI, .npy, DICOM files of several slices, or a folder of DICOM slices", series: "DICOM or NIfTI files of several frames, .npz, or the frames of series with their times below, or with a table (CSV) of columns series, file and time" };
  part("reads").textContent = `${kinds[model.reads]}. At most ${megabytes(model.limits.upload_bytes)} in ${model.limits.files} files. They are read on the machine that serves this page and kept nowhere.`;
  part("map-part").hidden = !model.maps;
  part("times-part").hidden = model.reads !== "series";
  part("unit").textContent = model.time_unit || "";
  part("command").textContent = `curl -F files=@scan.png ${new URL("predict", document.baseURI).href}`;
}

function choose(files) {
  chosen = files;
  const bytes = files.reduce((sum, each) => sum + each.file.size, 0);
  part("chosen").textContent = files.length === 1 ? `${files[0].path}, ${megabytes(bytes)}` : `${files.length} files, ${megabytes(bytes)}`;
  part("predict").disabled = files.length === 0;
  if (files.length > 0) predict();
}

async function listEntry(entry, prefix) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: prefix + file.name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    for (const each of some) found.push(...await listEntry(each, `${prefix}${entry.name}/`));
  }
}

async function listDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) found.push(...await listEntry(entry, ""));
  return found;
}

function fail(message) {
  part("status").textContent = "";
  part("error").replaceChildren(make("p", message, { className: "stop" }));
}

function checkLimits() {
  const bytes = chosen.reduce((sum, each) => sum + each.file.size, 0);
  if (chosen.length > model.limits.files) return `At most ${model.limits.files} files can be sent at a time. Chosen: ${chosen.length}.`;
  if (bytes > model.limits.upload_bytes) return `At most ${megabytes(model.limits.upload_bytes)} can be sent at a time. Chosen: ${megabytes(bytes)}.`;
  return "";
}

async function predict() {
  if (running) running.abort();
  part("error").replaceChildren();
  part("results").replaceChildren();
  addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
  if (!model || checkLimits()) return fail(model ? checkLimits() : "The server does not answer.");
  const mine = running = new AbortController();
  const sent = chosen;
  const form = new FormData();
  for (const each of sent) form.append("files", each.file, each.path);
  form.append("picture", "true");
  form.append("map", String(model.maps && part("map").checked));
  form.append("skip_bad", String(sent.length > 1));
  form.append("times", model.reads === "series" ? part("times").value : "");
  part("status").textContent = `Predicting ${sent.length === 1 ? sent[0].path : `${sent.length} files`} ...`;
  part("stop").hidden = false;
  let answer;
  try {
    const response = await fetch("predict", { method: "POST", body: form, signal: mine.signal });
    answer = await response.json();
    if (!response.ok) return fail(answer.error);
  } catch (error) {
    return error.name === "AbortError" ? undefined : fail("The server does not answer. It may have been stopped, or the files are too large.");
  } finally {
    if (running === mine) {
      running = null;
      part("stop").hidden = true;
    }
  }
  show(answer, sent);
}

function show(answer, sent) {
  const predictions = answer.predictions;
  for (const warning of answer.warnings) part("results").append(make("p", `Warning: ${warning}`, { className: "caution" }));
  for (const each of predictions.slice(0, SHOWN)) part("results").append(showOne(each, sent));
  if (predictions.length > SHOWN) part("results").append(showRest(predictions.slice(SHOWN)));
  const first = predictions[0];
  const probability = first.probabilities && first.probabilities[first.decision];
  const what = first.decision === null ? "a mask is predicted" : `${first.decision || "nothing"} is predicted`;
  const how = probability === undefined || probability === null ? "" : `, probability ${percent(probability)}`;
  const count = predictions.length === 1 ? "" : `${predictions.length} predictions. `;
  part("status").textContent = `${count}${first.name}: ${what}${how}.`;
}

function showOne(prediction, sent) {
  const article = make("article", make("h2", prediction.name));
  if (prediction.decision !== null) {
    article.append(make("p", ["Predicted: ", make("strong", prediction.decision || "none")], { className: "result" }));
    if (prediction.refer !== null) {
      const text = prediction.refer ? "Refer to a human: the model is too unsure to decide." : "Sure enough not to be referred to a human.";
      article.append(make("p", text, { className: prediction.refer ? "stop" : "promises" }));
    }
    if (prediction.set !== null) article.append(make("p", describeSet(prediction.set), { className: "promises" }));
    article.append(showBars(prediction));
    article.append(make("p", model.decision ? `Predicted: ${model.decision}.` : "The decision has no threshold of its own.", { className: "small" }));
  }
  for (const warning of prediction.warnings) article.append(make("p", `Warning: ${warning}`, { className: "caution" }));
  if (prediction.likeness !== null) {
    article.append(make("p", `Likeness: ${percent(prediction.likeness)} of the validation ${model.reads} are at least as far from what was learned.`, { className: "small" }));
  }
  article.append(showPictures(prediction, sent));
  if (prediction.areas !== null) article.append(showLegend(prediction));
  return article;
}

function describeSet(set) {
  const share = percent(model.coverage.share).replace(".0%", "%");
  const of = model.coverage.of_each_class ? " of each class" : "";
  return `Prediction set: ${set.length ? set.join(", ") : "empty"}. Such sets hold the true class of ${share} of samples${of}.`;
}

function showBars(prediction) {
  const single = model.calibrated ? `calibrated (${model.calibration})` : "not calibrated";
  const calibrated = `Probabilities, ${model.members === null ? single : `the mean of ${model.members} models`}`;
  const levels = model.thresholds || {};
  const rows = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]).map(([name, value]) => {
    const filled = make("i");
    filled.style.width = `${100 * value}%`;
    const bar = make("div", filled, { className: "bar" });
    bar.setAttribute("aria-hidden", "true");
    if (levels[name] !== undefined) {
      const mark = make("b", null, { title: `threshold ${levels[name].toFixed(3)}` });
      mark.style.left = `${100 * levels[name]}%`;
      bar.append(mark);
    }
    return make("tr", [make("th", name, { scope: "row" }), make("td", bar), make("td", percent(value), { className: "value" })]);
  });
  const marks = model.thresholds ? "; the line is the threshold" : "";
  return make("table", [make("caption", calibrated + marks), make("tbody", rows)], { className: "bars" });
}

function showPictures(prediction, sent) {
  const shown = make("div", null, { className: "shown" });
  const figure = (address, text, name) => shown.append(make("figure", [make("img", null, { src: address, alt: text, className: name }), make("figcaption", text)]));
  const original = sent.find((each) => each.path === prediction.name && BY_BROWSER.includes(each.file.type));
  if (original && !prediction.overlay) {
    addresses.push(URL.createObjectURL(original.file));
    figure(addresses[addresses.length - 1], "The file", "whole");
  }
  if (prediction.picture) {
    const middle = model.reads === "images" ? "" : model.reads === "volumes" ? ", the slice in the middle" : ", the frame in the middle";
    figure(source(prediction.picture), `As the model reads it${middle}`, "pixels");
  }
  if (prediction.overlay) figure(source(prediction.overlay), model.reads === "volumes" ? "The mask, on the slice in which most is found" : "The mask on the image", "pixels");
  if (prediction.map) figure(source(prediction.map), `Where the model looks: what counts for ${prediction.map.target}, by ${prediction.map.method}. It shows what the model uses, not that it is right.`, "drawn");
  return shown;
}

function showLegend(prediction) {
  const items = model.classes.map((name, place) => {
    const colour = make("i");
    if (place === 0) colour.style.background = "transparent";
    else colour.style.background = model.colours[place];
    const area = prediction.areas[name];
    return make("li", [colour, `${name}${place === 0 ? " (not drawn)" : ""}: ${percent(area.share)}, ${area.pixels.toLocaleString("en")} ${model.reads === "volumes" ? "voxels" : "pixels"}`]);
  });
  return make("ul", items, { className: "legend" });
}

function showRest(predictions) {
  const rows = predictions.map((each) => {
    const values = each.probabilities ? Object.entries(each.probabilities).map(([name, value]) => `${name} ${percent(value)}`).join(", ") : Object.entries(each.areas).map(([name, area]) => `${name} ${percent(area.share)}`).join(", ");
    return make("tr", [make("th", each.name, { scope: "row" }), make("td", each.decision ?? "a mask", { className: "text" }), make("td", values, { className: "text" })]);
  });
  const table = make("table", [make("caption", "Further predictions"), make("tbody", rows)]);
  return make("div", table, { className: "scroll", tabIndex: 0 });
}

const fromInput = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
for (const name of ["files", "folder"]) {
  part(name).addEventListener("change", (event) => {
    part(name === "files" ? "folder" : "files").value = "";
    choose(fromInput(event.target));
  });
}
part("stop").addEventListener("click", () => {
  if (running) running.abort();
  part("status").textContent = "Stopped.";
  part("predict").focus();
});
part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    part("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) part("drop").classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  part("drop").classList.remove("over");
  part("files").value = part("folder").value = "";
  choose(await listDropped(event.dataTransfer));
});
describe().catch(() => fail("The server does not answer."));
