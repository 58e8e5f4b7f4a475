// Slices of whole cases, drawn on canvases from voxels that lie packed in this page.
const startViewer = (root) => {
  const PLAIN = ["#009e73", "#f0e442", "#0072b2", "#d55e00"];
  const SIDES = { reference: "#56b4e9", prediction: "#ffb000" };
  const LACKING = [86, 180, 233], EXTRA = [230, 159, 0], OTHER = [204, 121, 167];
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const on = (name) => part(name).checked;
  const cases = [...document.querySelectorAll("script[data-facts]")].map((each) => JSON.parse(each.textContent));
  const figures = [...root.querySelectorAll("[data-plane]")].map((figure) => ({
    figure,
    canvas: figure.querySelector("canvas"),
    slider: figure.querySelector("input"),
    name: figure.querySelector('[data-part="name"]'),
    sides: [...figure.querySelectorAll(".side")],
  }));
  let now = null, opening = 0, zoom = 1;

  // Voxels

  const unpack = async (place, block) => {
    const text = atob(document.querySelector(`script[data-voxels="${place}.${block}"]`).textContent);
    const packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };
  const labelsOf = async (place, layer, side) => {
    const buffer = await unpack(place, layer[side]);
    return layer.bytes === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer);
  };
  const shadesOf = async (place, image) => {
    const shades = new Uint8Array(await unpack(place, image.block));
    for (let i = 0; i < shades.length; i++) if (i % image.size[0]) shades[i] += shades[i - 1];
    return shades;
  };
  const sliceOf = (array, size, [across, down, through], index) => {
    const steps = [1, size[0], size[0] * size[1]];
    const found = new array.constructor(size[across] * size[down]);
    for (let y = 0, i = 0; y < size[down]; y++) {
      let from = index * steps[through] + y * steps[down];
      for (let x = 0; x < size[across]; x++, i++, from += steps[across]) found[i] = array[from];
    }
    return found;
  };
  const shown = (label) => (now.visible[label] ? label : 0);

  // Opening a case

  const open = async (place, title) => {
    const ticket = ++opening, facts = cases[place];
    part("case").value = place;
    part("status").textContent = `Unpacking ${facts.name} …`;
    let layers, shades = null;
    try {
      layers = await Promise.all(facts.layers.map(async (layer) => ({
        reference: await labelsOf(place, layer, "reference"),
        prediction: await labelsOf(place, layer, "prediction"),
      })));
      if (facts.image) shades = await shadesOf(place, facts.image);
    } catch (error) {
      part("status").textContent = `${facts.name} cannot be unpacked: ${error.message}`;
      return;
    }
    if (ticket !== opening) return;
    const many = facts.labels.length;
    const colours = facts.labels.map((_, i) =>
      many <= PLAIN.length ? PLAIN[i] : `hsl(${Math.round(i * 137.508) % 360} 80% ${[60, 72, 50][i % 3]}%)`);
    const pale = colours.map((colour) => `color-mix(in srgb, ${colour} 25%, white)`);
    now = { facts, layers, shades, colours, pale, at: facts.size.map((n) => n >> 1), visible: new Uint8Array(many + 1).fill(1) };
    now.visible[0] = 0;
    for (const each of root.querySelectorAll('[data-of="image"]')) each.hidden = !facts.image;
    if (facts.image) {
      part("window").replaceChildren(...facts.image.windows.map(([name], i) => new Option(name, i)), new Option("own level and width", ""));
      chooseWindow();
    }
    part("notes").textContent = facts.notes.map((note) => `${note}.`).join(" ");
    list();
    const number = facts.labels.findIndex((label) => label.title === title) + 1;
    setZoom(1);
    if (number) lead(number);
    else goToWorst(0);
    part("status").textContent = "";
  };
  const chooseWindow = () => {
    if (part("window").value === "") return;
    const [, low, high] = now.facts.image.windows[part("window").value];
    part("level").value = Number(((low + high) / 2).toPrecision(5));
    part("width").value = Number((high - low).toPrecision(5));
  };

  // The list of labels

  const list = () => {
    const items = now.facts.labels.map((label, i) => {
      const item = document.createElement("li"), box = document.createElement("input");
      const swatch = document.createElement("i"), name = document.createElement("button");
      const value = document.createElement("span");
      box.type = "checkbox";
      box.checked = true;
      box.setAttribute("aria-label", `Show ${label.title}`);
      box.addEventListener("input", () => { now.visible[i + 1] = box.checked ? 1 : 0; draw(); });
      swatch.style.background = now.colours[i];
      name.type = "button";
      name.textContent = label.title;
      name.addEventListener("click", () => lead(i + 1));
      value.textContent = label.value;
      item.append(box, swatch, name, value);
      return item;
    });
    part("labels").replaceChildren(...items);
    find();
  };
  const find = () => {
    const words = part("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shownItems = 0;
    const items = [...part("labels").children];
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      shownItems += !item.hidden;
    }
    const measure = now.facts.measure ? ` with ${now.facts.measure}` : "";
    part("count").textContent = `${shownItems} of ${items.length} labels${measure}`;
  };
  const show = (which) => {
    [...part("labels").children].forEach((item, i) => {
      if (!item.hidden) now.visible[i + 1] = which ? 1 : 0;
    });
    tick();
    draw();
  };
  const tick = () => {
    [...part("labels").children].forEach((item, i) => { item.querySelector("input").checked = Boolean(now.visible[i + 1]); });
  };

  // Where to look

  const lead = (label) => {
    now.visible.fill(0);
    now.visible[label] = 1;
    tick();
    goToWorst(label);
  };
  // The slice across z with most wrong voxels, and in it the wrong voxel nearest to their middle; of
  // a single label also so near that it can be seen.
  const goToWorst = (label) => {
    const { size } = now.facts, area = size[0] * size[1];
    const low = [...size], high = [-1, -1, -1];
    const look = (test) => {
      const counts = new Uint32Array(size[2]);
      for (const { reference, prediction } of now.layers)
        for (let i = 0; i < reference.length; i++)
          if (test(shown(reference[i]), shown(prediction[i]))) counts[Math.floor(i / area)]++;
      const best = counts.indexOf(counts.reduce((a, b) => Math.max(a, b), 0));
      return counts[best] ? best : -1;
    };
    let test = (r, p) => r !== p, z = look(test);
    if (z < 0) z = look((test = (r, p) => r || p));
    if (z < 0) { draw(); return; }
    const points = [];
    for (const { reference, prediction } of now.layers)
      for (let i = z * area; i < (z + 1) * area; i++)
        if (test(shown(reference[i]), shown(prediction[i]))) points.push([i % size[0], Math.floor((i % area) / size[0])]);
    const middle = [0, 1].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
    const far = (p) => (p[0] - middle[0]) ** 2 + (p[1] - middle[1]) ** 2;
    const nearest = points.reduce((a, b) => (far(b) < far(a) ? b : a));
    now.at = [...nearest, z];
    if (label) {
      for (const { reference, prediction } of now.layers)
        for (let i = 0; i < reference.length; i++)
          if (reference[i] === label || prediction[i] === label)
            [i % size[0], Math.floor((i % area) / size[0]), Math.floor(i / area)].forEach((v, axis) => {
              low[axis] = Math.min(low[axis], v);
              high[axis] = Math.max(high[axis], v);
            });
      setZoom(Math.min(...size.map((n, axis) => n / Math.min(n, 2.5 * (high[axis] - low[axis] + 1)))));
    }
    draw();
  };
  const setZoom = (wanted) => {
    zoom = Math.min(12, Math.max(1, Math.floor(2 * wanted) / 2));
    part("zoom").value = zoom;
  };
  const move = (axis, by) => {
    now.at[axis] = Math.min(now.facts.size[axis] - 1, Math.max(0, now.at[axis] + by));
    draw();
  };

  // Outlines: around each part in one line, with the inside on the right hand

  const outlines = (slice, width, height, place) => {
    const found = new Map();
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : shown(slice[y * width + x]));
    const add = (label, x, y, dx, dy) => {
      if (!found.has(label)) found.set(label, new Map());
      const after = found.get(label), corner = y * (width + 1) + x;
      if (after.has(corner)) after.get(corner).push([dx, dy]);
      else after.set(corner, [[dx, dy]]);
    };
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const label = at(x, y);
        if (!label) continue;
        if (at(x, y - 1) !== label) add(label, x, y, 1, 0);
        if (at(x + 1, y) !== label) add(label, x + 1, y, 0, 1);
        if (at(x, y + 1) !== label) add(label, x + 1, y + 1, -1, 0);
        if (at(x - 1, y) !== label) add(label, x, y + 1, 0, -1);
      }
    const paths = new Map();
    for (const [label, after] of found) {
      const path = new Path2D();
      while (after.size) {
        const start = after.keys().next().value;
        let x = start % (width + 1), y = Math.floor(start / (width + 1)), way = [0, 0];
        path.moveTo(...place(x, y));
        for (;;) {
          const corner = y * (width + 1) + x, ways = after.get(corner);
          const right = ways.findIndex(([dx, dy]) => dx === -way[1] && dy === way[0]);
          const [step] = ways.splice(Math.max(0, right), 1);
          if (!ways.length) after.delete(corner);
          if ((way[0] || way[1]) && (step[0] !== way[0] || step[1] !== way[1])) path.lineTo(...place(x, y));
          x += step[0];
          y += step[1];
          way = step;
          if (y * (width + 1) + x === start) break;
        }
        path.closePath();
      }
      paths.set(label, path);
    }
    return paths;
  };

  // Drawing

  const picture = (width, height, fill) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), data = context.createImageData(width, height);
    fill(data.data);
    context.putImageData(data, 0, 0);
    return canvas;
  };
  const greyOf = (plane) => {
    const { image } = now.facts, [across, down, through] = plane;
    const low = part("level").value - part("width").value / 2, range = Math.max(1e-9, part("width").value);
    const greys = image.shades.map((shade) => Math.min(255, Math.max(0, (255 * (shade - low)) / range)));
    const index = Math.min(image.size[through] - 1, Math.floor(now.at[through] / image.factors[through]));
    const slice = sliceOf(now.shades, image.size, plane, index);
    return picture(image.size[across], image.size[down], (data) => {
      for (let i = 0; i < slice.length; i++) {
        data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = greys[slice[i]];
        data[4 * i + 3] = 255;
      }
    });
  };
  const rgb = (colour) => {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const areasOf = (slices, width, height) => {
    const alpha = 255 * part("opacity").value, first = on("reference") ? "reference" : "prediction";
    const colours = on("areas") ? now.colours.map(rgb) : [];
    return picture(width, height, (data) => {
      for (const slice of slices)
        for (let i = 0; i < width * height; i++) {
          const r = shown(slice.reference[i]), p = shown(slice.prediction[i]);
          let colour = null;
          if (on("error") && r !== p) colour = !p ? LACKING : !r ? EXTRA : OTHER;
          else if (on("areas")) colour = colours[(slice[first][i] ? shown(slice[first][i]) : 0) - 1];
          if (colour) data.set([...colour, alpha], 4 * i);
        }
    });
  };
  const nice = (most) => {
    const power = 10 ** Math.floor(Math.log10(most));
    return [5, 2, 1].map((step) => step * power).find((length) => length <= most);
  };
  const drawPlane = (each, plane, scale) => {
    const { facts, at } = now, { size, mm } = facts, [across, down, through] = plane;
    const ratio = window.devicePixelRatio || 1, { canvas } = each;
    const css = [size[across] * mm[across] * scale, size[down] * mm[down] * scale];
    canvas.width = Math.round(css[0] * ratio);
    canvas.height = Math.round(css[1] * ratio);
    canvas.style.width = `${css[0]}px`;
    canvas.style.height = `${css[1]}px`;
    each.figure.style.width = `${css[0]}px`;
    const context = canvas.getContext("2d");
    const start = [across, down].map((axis) => {
      const span = size[axis] / zoom;
      return Math.min(size[axis] - span, Math.max(0, at[axis] + 0.5 - span / 2));
    });
    const pixels = [mm[across] * scale * ratio * zoom, mm[down] * scale * ratio * zoom];
    each.place = (x, y) => [(x - start[0]) * pixels[0], (y - start[1]) * pixels[1]];
    each.voxel = (x, y) => [Math.floor((x * ratio) / pixels[0] + start[0]), Math.floor((y * ratio) / pixels[1] + start[1])];
    const lay = (source, wide, high) => {
      const [left, top] = each.place(0, 0);
      context.drawImage(source, left, top, wide * pixels[0], high * pixels[1]);
    };
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    let grey = null;
    if (facts.image && on("image")) {
      const { factors, size: own } = facts.image;
      grey = greyOf(plane);
      context.imageSmoothingEnabled = true;
      lay(grey, own[across] * factors[across], own[down] * factors[down]);
    }
    const slices = now.layers.map((layer) => ({
      reference: sliceOf(layer.reference, size, plane, at[through]),
      prediction: sliceOf(layer.prediction, size, plane, at[through]),
    }));
    context.imageSmoothingEnabled = false;
    if (on("error") || on("areas")) lay(areasOf(slices, size[across], size[down]), size[across], size[down]);
    const single = now.visible.reduce((sum, one) => sum + one, 0) === 1;
    // Where both outlines lie on one line, paler dashes still tell the prediction.
    const tints = { reference: now.colours, prediction: now.pale };
    const lines = [];
    for (const side of ["reference", "prediction"])
      if (on(side))
        for (const slice of slices)
          for (const [label, path] of outlines(slice[side], size[across], size[down], each.place))
            lines.push({ path, side, colour: single ? SIDES[side] : tints[side][label - 1] });
    context.lineJoin = "round";
    context.strokeStyle = "#000a";
    context.lineWidth = 4 * ratio;
    for (const line of lines) context.stroke(line.path);
    for (const { path, side, colour } of lines) {
      const dashed = side === "prediction";
      context.setLineDash(dashed ? [6 * ratio, 4 * ratio] : []);
      for (const [ink, width] of dashed ? [["#000", 3.4], [colour, 1.8]] : [[colour, 2.2]]) {
        context.strokeStyle = ink;
        context.lineWidth = width * ratio;
        context.stroke(path);
      }
    }
    context.setLineDash([]);
    if (on("cross")) {
      const [x, y] = each.place(at[across] + 0.5, at[down] + 0.5), gap = 14 * ratio;
      context.strokeStyle = "#fffa";
      context.lineWidth = ratio;
      context.beginPath();
      for (const [from, to] of [[[0, y], [x - gap, y]], [[x + gap, y], [canvas.width, y]], [[x, 0], [x, y - gap]], [[x, y + gap], [x, canvas.height]]]) {
        context.moveTo(...from);
        context.lineTo(...to);
      }
      context.stroke();
    }
    const bar = nice((canvas.width / 4) / (scale * ratio * zoom));
    const long = bar * scale * ratio * zoom, left = 8 * ratio, bottom = canvas.height - 8 * ratio;
    context.font = `600 ${12 * ratio}px sans-serif`;
    for (const [colour, width] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * ratio;
      context.beginPath();
      context.moveTo(left, bottom);
      context.lineTo(left + long, bottom);
      context.stroke();
      if (colour === "#000") context.strokeText(`${bar} mm`, left, bottom - 6 * ratio);
    }
    context.fillStyle = "#fff";
    context.fillText(`${bar} mm`, left, bottom - 6 * ratio);
    if (zoom > 1) locate(context, grey, canvas, start, size[across], size[down], ratio);
    each.sides.forEach((side, i) => { side.textContent = facts.letters[i < 2 ? across : down][i % 2]; });
    const number = facts.first[through] + at[through] * facts.step[through];
    const said = `${facts.names[through]}, slice ${number} of ${facts.count[through]}`;
    each.slider.max = size[through] - 1;
    each.slider.hidden = size[through] === 1;
    each.slider.value = at[through];
    each.slider.setAttribute("aria-valuetext", said);
    each.name.textContent = said;
    canvas.setAttribute("aria-label", `${facts.name}, ${said}`);
  };
  // The whole slice, small, and the part of it that is shown
  const locate = (context, grey, canvas, start, wide, high, ratio) => {
    const width = 0.24 * canvas.width, height = (width * canvas.height) / canvas.width;
    const left = canvas.width - width - 4 * ratio, top = 4 * ratio;
    context.fillStyle = "#222";
    context.fillRect(left, top, width, height);
    if (grey) context.drawImage(grey, left, top, width, height);
    context.lineWidth = ratio;
    context.strokeStyle = "#fff";
    context.strokeRect(left, top, width, height);
    context.lineWidth = 2 * ratio;
    context.strokeStyle = SIDES.prediction;
    context.strokeRect(left + (start[0] / wide) * width, top + (start[1] / high) * height, width / zoom, height / zoom);
  };
  const draw = () => {
    if (!now) return;
    const { size, mm, planes } = now.facts, room = part("slices").clientWidth;
    const wide = planes.map(([across]) => size[across] * mm[across]);
    const high = planes.map(([, down]) => size[down] * mm[down]);
    const row = room >= 620, total = wide.reduce((a, b) => a + b, 0);
    const scale = row
      ? Math.min((room - 13 * planes.length) / total, 480 / Math.max(...high))
      : Math.min(room / Math.max(...wide), 400 / Math.max(...high));
    figures.forEach((each, i) => {
      each.figure.hidden = i >= planes.length;
      if (i < planes.length) drawPlane(each, planes[i], scale);
    });
    read();
  };
  const read = () => {
    const { facts, at, layers } = now, { size } = facts;
    const here = at[0] + size[0] * (at[1] + size[1] * at[2]);
    const said = facts.names.map((name, axis) => `${name} slice ${facts.first[axis] + at[axis] * facts.step[axis]}`);
    const parts = [said.reverse().join(", ")];
    if (facts.image) {
      const { factors, size: own, shades, unit } = facts.image;
      const [x, y, z] = at.map((v, axis) => Math.min(own[axis] - 1, Math.floor(v / factors[axis])));
      parts.push(`image about ${shades[now.shades[x + own[0] * (y + own[1] * z)]].toPrecision(3)} ${unit}`.trim());
    }
    for (const side of ["reference", "prediction"]) {
      const found = layers.map((layer) => layer[side][here]).filter(Boolean);
      parts.push(`${side}: ${found.map((label) => facts.labels[label - 1].title).join(", ") || "none"}`);
    }
    part("readout").textContent = `At the cross-hair: ${parts.join("; ")}`;
  };

  // Hands on it

  figures.forEach((each, i) => {
    const { canvas, slider } = each;
    const plane = () => now.facts.planes[i];
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const found = each.voxel(event.clientX - box.left, event.clientY - box.top);
      plane().slice(0, 2).forEach((axis, j) => {
        now.at[axis] = Math.min(now.facts.size[axis] - 1, Math.max(0, found[j]));
      });
      draw();
    };
    slider.addEventListener("input", () => { now.at[plane()[2]] = Number(slider.value); draw(); });
    canvas.addEventListener("pointerdown", (event) => { canvas.focus({ preventScroll: true }); if (now) point(event); });
    canvas.addEventListener("pointermove", (event) => { if (now && event.buttons) point(event); });
    canvas.addEventListener("wheel", (event) => {
      if (!now || document.activeElement !== canvas) return;
      event.preventDefault();
      move(plane()[2], Math.sign(event.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
      const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[event.key];
      const box = { i: "image", r: "reference", p: "prediction", e: "error", a: "areas", c: "cross" }[event.key];
      if (by) move(plane()[2], by);
      else if (box) { part(box).checked = !on(box); draw(); }
      else if (event.key === "+" || event.key === "-") { setZoom(zoom + (event.key === "+" ? 0.5 : -0.5)); draw(); }
      else return;
      event.preventDefault();
    });
  });
  for (const name of ["image", "reference", "prediction", "error", "areas", "cross", "opacity"]) part(name).addEventListener("input", draw);
  part("zoom").addEventListener("input", () => { zoom = Number(part("zoom").value); draw(); });
  part("window").addEventListener("input", () => { chooseWindow(); draw(); });
  for (const name of ["level", "width"]) part(name).addEventListener("input", () => { part("window").value = ""; draw(); });
  part("worst").addEventListener("click", () => { if (now) goToWorst(0); });
  part("find").addEventListener("input", find);
  part("all").addEventListener("click", () => show(true));
  part("none").addEventListener("click", () => show(false));
  part("case").addEventListener("input", () => open(Number(part("case").value)));
  for (const button of document.querySelectorAll("[data-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      document.getElementById("viewer").scrollIntoView();
      open(Number(button.dataset.open), button.dataset.label);
    });
  }
  root.hidden = false;
  new ResizeObserver(draw).observe(part("slices"));
  // Nothing is unpacked before the viewer comes into sight.
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((each) => each.isIntersecting)) return;
    watch.disconnect();
    if (!now && !opening) open(0);
  }, { rootMargin: "300px" });
  watch.observe(root);
};
for (const root of document.querySelectorAll("[data-viewer]")) startViewer(root);
