// The lanes: one for each process, as high as its memory. Only the visible lanes are drawn.

const ROW = 20;  // height of a lane, in pixels

class Lanes {
  constructor(state) {
    this.state = state;
    this.closed = new Set();  // processes, or groups as ~number, whose lanes are folded away
    this.rows = new Int32Array(0);
    this.length = 0;
  }

  // To be called when another run or another order is chosen.
  choose() {
    const {run, order} = this.state;
    this.closed.clear();
    const children = childrenOf(run);
    this.hasChildren = p => children.from[p + 1] > children.from[p];
    if (order === 'parent') this.#byParent(run, children);
    else this.#byCommand(run);
    this.rank = new Int32Array(run.count);
    this.order.forEach((p, i) => { this.rank[p] = i; });
    this.rows = new Int32Array(run.count + run.groups.length + 1);
  }

  #byParent(run, {from, list, roots}) {
    const order = new Int32Array(run.count);
    this.depth = new Uint16Array(run.count);
    this.after = new Int32Array(run.count);  // rank of the first that is not below it
    const todo = [...roots].reverse();
    const open = [];
    let n = 0;
    while (todo.length) {
      const p = todo.pop();
      if (p < 0) { this.after[~p] = n; continue; }
      order[n++] = p;
      todo.push(~p);
      for (let i = from[p + 1] - 1; i >= from[p]; i--) {
        this.depth[list[i]] = Math.min(this.depth[p] + 1, 65535);
        todo.push(list[i]);
      }
    }
    this.order = order;
  }

  #byCommand(run) {
    this.order = Int32Array.from({length: run.count}, (_, p) => p)
      .sort((a, b) => this.headerOf(b) - this.headerOf(a) || a - b);
    this.depth = new Uint16Array(run.count);
  }

  // Decides which lanes are shown, from the top.
  arrange() {
    const {run, view, order, inView, matches, focus} = this.state;
    const {closed} = this;
    let n = 0;
    let header = null;
    let shown = 0;
    for (let i = 0; i < this.order.length; i++) {
      const p = this.order[i];
      const fits = !(inView && (run.begin[p] > view.to || run.end[p] < view.from))
        && (!matches || matches[p]) && (focus === null || run.group[p] === focus);
      if (fits) {
        shown++;
        if (order === 'command') {
          if (header !== this.headerOf(p)) this.rows[n++] = header = this.headerOf(p);
          if (closed.has(header)) continue;
        }
        this.rows[n++] = p;
      }
      if (order === 'parent' && closed.has(p)) i = this.after[p] - 1;
    }
    this.length = n;
    this.shown = shown;
  }

  // Returns the row above the processes of its group. Processes without a group share the last.
  headerOf(p) {
    const {run} = this.state;
    return ~(run.group[p] < 0 ? run.groups.length : run.group[p]);
  }

  fold(row) {
    if (!this.closed.delete(row)) this.closed.add(row);
  }

  // Folds all that can be folded; unfolds all when something is folded.
  foldAll() {
    const {run, order} = this.state;
    if (this.closed.size) this.closed.clear();
    else for (let p = 0; p < run.count; p++) {
      if (order === 'command') this.closed.add(this.headerOf(p));
      else if (this.hasChildren(p) && this.depth[p]) this.closed.add(p);
    }
  }

  // Unfolds all that hides the lane of a process.
  unfold(p) {
    const {run, order} = this.state;
    if (order === 'command') this.closed.delete(this.headerOf(p));
    else for (let parent = run.parent[p]; parent >= 0; parent = run.parent[parent]) this.closed.delete(parent);
  }

  // Returns the row of a process, or of the first process after it that is shown.
  rowOf(p) {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const r = this.rows[middle];
      if (r >= 0 ? this.rank[r] >= this.rank[p] : r < this.headerOf(p)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  draw(context, width, height, ratio, colours, gutter, scroll) {
    const {run, view, pinned, hovered} = this.state;
    context.clearRect(0, 0, width, height);
    const left = gutter * ratio;
    const room = width - left;
    const row = ROW * ratio;
    const first = Math.floor(scroll / ROW);
    const last = Math.min(this.length, Math.ceil((scroll + height / ratio) / ROW));
    this.#lines(context, left, room, height, ratio, colours);
    for (let i = first; i < last; i++) {
      const p = this.rows[i];
      const top = Math.round((i * ROW - scroll) * ratio);
      if (p < 0) {
        this.#header(context, ~p, left, room, top, ratio, colours);
        continue;
      }
      if (p === pinned || p === hovered) {
        context.fillStyle = p === pinned ? colours.chosen : colours.hover;
        context.fillRect(0, top, width, row);
      }
      this.#lane(context, p, left, room, top, ratio, colours);
    }
    context.fillStyle = colours.line;
    context.fillRect(left - ratio, 0, ratio, height);
    if (!this.length) {
      context.fillStyle = colours.soft;
      context.font = `${12 * ratio}px ${colours.font}`;
      context.textAlign = 'left';
      context.textBaseline = 'top';
      context.fillText(run.count ? 'No process matches' : 'No process was seen', left + 12 * ratio, 12 * ratio);
    }
    this.#names(context, first, last, left, scroll, ratio, colours);
  }

  #lines(context, left, room, height, ratio, colours) {
    const {view} = this.state;
    const step = niceStep(view.span / Math.max(1, room / ratio / 110));
    context.fillStyle = colours.grid;
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      context.fillRect(Math.round(left + (time - view.from) / view.span * room), 0, ratio, height);
    }
  }

  // Draws all processes of a group as one, on the scale of the groups.
  #header(context, g, left, room, top, ratio, colours) {
    const {run, view} = this.state;
    context.fillStyle = colours.band;
    context.fillRect(0, top, left + room, ROW * ratio - ratio);
    if (g >= run.groups.length || !run.has_samples) return;
    const held = run.heldBy(g);
    const base = top + (ROW - 2) * ratio;
    const most = this.state.oneScale ? run.groups[0][2] : run.groups[g][2];
    const high = size => (size > 0 ? Math.max(1.5 * ratio, size / (most || 1) * (ROW - 4) * ratio) : 0);
    context.fillStyle = colours.groups[Math.min(g, COLOURS)];
    context.beginPath();
    highestTicks(run, held, view, room).forEach((tick, x) => {
      const size = tick < 0 ? 0 : high(held[tick]);
      if (size) context.rect(left + x, base - size, 1, size);
    });
    context.fill();
  }

  #names(context, first, last, left, scroll, ratio, colours) {
    const {run, order, pinned} = this.state;
    const size = 76 * ratio;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    context.font = `${11 * ratio}px ${colours.font}`;
    context.fillStyle = colours.soft;
    const middle = i => (i * ROW - scroll + ROW / 2 + 0.5) * ratio;
    for (let i = first; i < last; i++) {
      const p = this.rows[i];
      context.fillText(p < 0 ? groupPeak(run, ~p) : peakText(run, p), left - 8 * ratio, middle(i));
    }
    context.save();
    context.beginPath();
    context.rect(0, 0, left - size, context.canvas.height);
    context.clip();
    context.textAlign = 'left';
    for (let i = first; i < last; i++) {
      const p = this.rows[i];
      const inset = (p < 0 ? 4 : 4 + this.indent(p) + (order === 'parent' ? 12 : 20)) * ratio;
      if (p < 0 || (order === 'parent' && this.hasChildren(p))) {
        context.fillStyle = colours.soft;
        context.fillText(this.closed.has(p) ? '▸' : '▾', inset - (p < 0 ? 0 : 12) * ratio, middle(i));
      }
      context.font = `${p < 0 || p === pinned ? '600 ' : ''}${12 * ratio}px ${colours.font}`;
      context.fillStyle = colours.ink;
      const group = run.groups[~p];
      const text = p < 0 ? `${group ? group[0] : 'other'}` : run.nameOf(p);
      context.fillText(text, inset + (p < 0 ? 14 * ratio : 0), middle(i));
      if (p < 0 && group) {
        const wide = context.measureText(text).width;
        context.fillStyle = colours.soft;
        context.font = `${11 * ratio}px ${colours.font}`;
        context.fillText(`× ${formatNumber(group[1])}`, inset + 20 * ratio + wide, middle(i));
      }
    }
    context.restore();
  }

  // Limited, so that the names of deep processes stay visible.
  indent(p) { return Math.min(this.depth[p], 8) * 10; }

  #lane(context, p, left, room, top, ratio, colours) {
    const {run, view, oneScale} = this.state;
    const scale = room / view.span;
    const begin = (Math.max(run.begin[p], view.from) - view.from) * scale;
    const end = (Math.min(run.end[p], view.to) - view.from) * scale;
    if (run.begin[p] > view.to || run.end[p] < view.from) return;
    const base = top + (ROW - 2) * ratio;
    const full = (ROW - 4) * ratio;
    const x = Math.floor(begin);
    const wide = Math.max(Math.ceil(end) - x, 1.5 * ratio);
    const colour = run.colourOf(p);
    context.fillStyle = colours.groups[colour];
    context.globalAlpha = 0.16;
    context.fillRect(left + x, base - full, Math.min(wide, room - x), full);
    context.globalAlpha = 1;
    const most = (oneScale ? run.largest : run.peak[p]) || 1;
    const high = size => Math.max(size ? 1.5 * ratio : 0, size / most * full);
    const from = run.sampleFrom[p];
    const samples = run.sampleFrom[p + 1];
    const known = run.sourceOf(p) !== 'unknown';
    if (from === samples || !this.#shape(context, p, left, scale, base, high, x, x + wide)) {
      if (known) this.#flat(context, left + x, wide, base - high(run.peak[p]), base, colours.groups[colour], ratio);
    }
    this.#executed(context, p, left, scale, base, full, ratio, colours);
    if (run.killed[p] && run.end[p] <= view.to) this.#killed(context, p, left + x + wide, base, full, ratio, colours);
    if (wide > 60 * ratio) this.#words(context, p, left + x, wide, base - full / 2, full, ratio, colours);
  }

  // Draws in each column of pixels the highest value in it. Returns false where all are 0.
  #shape(context, p, left, scale, base, high, x, end) {
    const {sampleTime, sample_rss} = this.state.run;
    const {view} = this.state;
    const from = this.state.run.sampleFrom[p];
    const stop = this.state.run.sampleFrom[p + 1];
    let k = after(sampleTime, view.from, from, stop);
    let held = k > from ? sample_rss[k - 1] : 0;
    let most = held;
    let seen = held;
    let y = base;
    context.beginPath();
    context.moveTo(left + x, base);
    const fill = (start, size) => {
      const level = base - high(size);
      if (level !== y) {
        context.lineTo(left + start, y);
        context.lineTo(left + start, level);
        y = level;
      }
    };
    for (; k < stop && sampleTime[k] <= view.to; k++) {
      const column = Math.floor((sampleTime[k] - view.from) * scale);
      if (column > x) {
        fill(x, most);
        fill(x + 1, held);
        x = column;
        most = held;
      }
      held = sample_rss[k];
      if (held > most) most = held;
      if (held > seen) seen = held;
    }
    fill(x, most);
    if (x + 1 < end) fill(x + 1, held);
    context.lineTo(left + Math.max(end, x + 1), y);
    context.lineTo(left + Math.max(end, x + 1), base);
    context.fill();
    return seen > 0;
  }

  // Draws a process without samples at its peak, dashed, because the time of the peak is unknown.
  #flat(context, x, wide, top, base, colour, ratio) {
    context.strokeStyle = colour;
    context.lineWidth = 1.25 * ratio;
    context.setLineDash([4 * ratio, 2.5 * ratio]);
    context.strokeRect(x + ratio / 2, top, Math.max(wide - ratio, ratio / 2), base - top - ratio / 2);
    context.setLineDash([]);
  }

  // Draws a line where it executed another program.
  #executed(context, p, left, scale, base, full, ratio, colours) {
    const {run, view} = this.state;
    context.fillStyle = colours.soft;
    for (let i = run.programFrom[p] + 1; i < run.programFrom[p + 1]; i++) {
      const time = run.program_since[i];
      if (time < view.from || time > view.to) continue;
      const x = (time - view.from) * scale;
      if ((run.end[p] - run.begin[p]) * scale > 8 * ratio) context.fillRect(left + x, base - full, ratio, full);
    }
  }

  // Marks where a process was killed, and writes beside it by what.
  #killed(context, p, x, base, full, ratio, colours) {
    context.fillStyle = colours.limit;
    context.fillRect(x - 2 * ratio, base - full, 2 * ratio, full);
    context.font = `600 ${10.5 * ratio}px ${colours.font}`;
    context.textBaseline = 'middle';
    context.textAlign = x + 90 * ratio < context.canvas.width ? 'left' : 'right';
    const away = (context.textAlign === 'left' ? 4 : -6) * ratio;
    const {run} = this.state;
    context.fillText(`✕ ${run.killed_by[run.killed[p]]}`, x + away, base - full / 2 + ratio / 2);
  }

  #words(context, p, x, wide, middle, full, ratio, colours) {
    context.save();
    context.beginPath();
    context.rect(x, middle - full, wide - 4 * ratio, 2 * full);
    context.clip();
    context.font = `${10.5 * ratio}px ${colours.mono}`;
    context.textBaseline = 'middle';
    context.textAlign = 'left';
    context.fillStyle = colours.ink;
    context.globalAlpha = 0.75;
    const {run} = this.state;
    context.fillText((run.lineOf(p) ?? run.nameOf(p)).slice(0, 300), x + 5 * ratio, middle + ratio / 2);
    context.restore();
  }
}

// Returns the children of all processes: those of p are list[from[p]] to list[from[p + 1] - 1].
function childrenOf(run) {
  const counts = new Int32Array(run.count);
  const roots = [];
  run.parent.forEach((parent, p) => { if (parent >= 0) counts[parent]++; else roots.push(p); });
  const from = starts(counts);
  const next = from.slice();
  const list = new Int32Array(from[run.count]);
  run.parent.forEach((parent, p) => { if (parent >= 0) list[next[parent]++] = p; });
  return {from, list, roots};
}

function peakText(run, p) {
  const source = run.sourceOf(p);
  if (source === 'unknown') return 'unknown';
  return (source === 'exact' ? '' : '≥ ') + formatSize(run.peak[p]);
}

function groupPeak(run, g) {
  const group = run.groups[g];
  return group && group[2] !== null ? formatSize(group[2]) : '';
}
