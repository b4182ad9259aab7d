// The upper chart: the total over time, stacked by group or by kind of memory, with the least footprint,
// PSS, the limit and the peak.

const AXIS = 22;  // height of the time axis, in pixels

// Returns for each column of pixels the tick with the highest value in it, or the tick that still
// holds there; -1 for none. So no peak is hidden, however many ticks share a column.
function highestTicks(run, values, view, width) {
  const {tickTime} = run;
  const out = new Int32Array(width).fill(-1);
  const scale = width / view.span;
  const stop = Math.min(width, Math.ceil((run.to - view.from) * scale));
  let k = after(tickTime, view.from);
  let held = k - 1;
  let best = held;
  let x = 0;
  for (; k < tickTime.length && tickTime[k] < view.to; k++) {
    const column = Math.floor((tickTime[k] - view.from) * scale);
    if (column > x) {
      out[x] = best;
      out.fill(held, x + 1, column);
      x = column;
      best = held;
    }
    if (best < 0 || values[k] > values[best]) best = k;
    held = k;
  }
  if (x < stop) {
    out[x] = best;
    out.fill(held, x + 1, stop);
  }
  return out;
}

class Chart {
  constructor(canvas, state) {
    this.canvas = canvas;
    this.state = state;
    this.shown = null;  // sum of the shown layers at each tick
  }

  // To be called when another run, or another part of it, is chosen.
  choose() {
    const {run, hidden} = this.state;
    this.layers = layersOf(run);
    const shown = this.layers.filter(({key}) => !hidden.has(key));
    if (shown.length === this.layers.length) {
      this.shown = run.total;
    } else {
      this.shown = new Float64Array(run.total.length);
      for (const {sums} of shown) for (let i = 0; i < this.shown.length; i++) this.shown[i] += sums[i];
    }
    let top = run.total.length ? highest(this.shown) : 0;
    if (!hidden.has('total')) for (const each of this.state.runs) top = Math.max(top, each.max_total ?? 0);
    if (!hidden.has('least')) top = Math.max(top, highest(run.least));
    if (!hidden.has('pss')) top = Math.max(top, highest(run.pss_total));
    if (this.showsLimit()) top = Math.max(top, run.limit);
    this.top = Math.max(top * 1.1, 1024);
  }

  // Whether the limit is shown, which sets the scale: if it is near the peak, or was chosen.
  showsLimit() {
    const {run, hidden, asked} = this.state;
    if (run.limit === null || hidden.has('limit')) return false;
    return asked.has('limit') || run.limit <= 2 * (run.max_total ?? 0);
  }

  draw(context, width, height, ratio, colours) {
    const {state} = this;
    const {run, view, hidden} = state;
    this.height = height - AXIS * ratio;
    context.clearRect(0, 0, width, height);
    const y = size => this.height * (1 - size / this.top);
    this.#sizes(context, width, ratio, colours, y);
    if (run.total.length) {
      const columns = highestTicks(run, this.shown, view, width);
      this.columns = columns;
      if (this.layers.length) this.#stack(context, columns, y, colours);
      else if (!hidden.has('total')) this.#fill(context, columns, run.total, y, colours.faint);
      if (!hidden.has('total')) {
        for (const other of state.runs) {
          const ticks = highestTicks(other, other.total, view, width);
          const colour = state.runs.length > 1 ? colours.runs[state.runs.indexOf(other) % colours.runs.length] : colours.ink;
          const isAlone = state.runs.length === 1 && this.layers.length > 0;
          this.#line(context, ticks, other.total, y, colour, 1.25 * ratio, isAlone ? 3 * ratio : 0);
        }
      }
      if (!hidden.has('least')) {
        const ticks = highestTicks(run, run.least, view, width);
        // It crosses the stack, so it has an edge.
        this.#line(context, ticks, run.least, y, colours.halo, 4 * ratio, 0);
        this.#line(context, ticks, run.least, y, colours.least, 1.75 * ratio, 0);
      }
    }
    this.#overlays(context, width, ratio, colours, y);
    if (!run.total.length) {
      context.fillStyle = colours.soft;
      context.font = `${12 * ratio}px ${colours.font}`;
      context.textAlign = 'center';
      context.textBaseline = 'middle';
      context.fillText('This file has no totals over time: only the highest total is known', width / 2, this.height / 2);
    }
    drawTimes(context, view, 0, width, this.height, height, ratio, colours);
  }

  #stack(context, columns, y, colours) {
    const {hidden} = this.state;
    const base = new Float64Array(columns.length);
    this.layers.forEach(({key, colour, sums}) => {
      if (hidden.has(key)) return;
      context.fillStyle = colours.groups[colour];
      context.beginPath();
      let last = null;
      const backward = [];
      for (let x = 0; x < columns.length; x++) {
        const tick = columns[x];
        const low = base[x];
        const high = tick < 0 ? 0 : low + sums[tick];
        base[x] = high;
        if (last && last.low === low && last.high === high) { last.x = x + 1; continue; }
        if (last) { context.lineTo(last.x, last.top); backward.push(last.x, last.bottom); }
        last = {x: x + 1, low, high, top: y(high), bottom: y(low)};
        context.lineTo(x, last.top);
        backward.push(x, last.bottom);
      }
      if (!last) return;
      context.lineTo(last.x, last.top);
      context.lineTo(last.x, last.bottom);
      for (let i = backward.length - 2; i >= 0; i -= 2) context.lineTo(backward[i], backward[i + 1]);
      context.fill();
    });
  }

  #fill(context, columns, values, y, colour) {
    context.fillStyle = colour;
    context.beginPath();
    columns.forEach((tick, x) => { if (tick >= 0) context.rect(x, y(values[tick]), 1, this.height - y(values[tick])); });
    context.fill();
  }

  // Draws the total. Where ticks are nearer than `dense`, vertical lines would hide what is below
  // them, so only the tops are drawn there.
  #line(context, columns, values, y, colour, thickness, dense) {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.lineJoin = 'round';
    context.beginPath();
    let joined = false;
    for (let x = 0; x < columns.length;) {
      const tick = columns[x];
      let end = x + 1;
      while (end < columns.length && columns[end] === tick) end++;
      const isKnown = tick >= 0 && values[tick] >= 0;
      if (isKnown) {
        const at = y(values[tick]);
        context[joined && end - x >= dense ? 'lineTo' : 'moveTo'](x, at);
        context.lineTo(end, at);
      }
      joined = isKnown;
      x = end;
    }
    context.stroke();
  }

  // Draws horizontal lines of equal size, with labels at the left.
  #sizes(context, width, ratio, colours, y) {
    const step = niceSize(this.top / Math.max(2, Math.floor(this.height / ratio / 42)));
    for (let size = 0; size <= this.top; size += step) {
      const at = Math.round(y(size)) + 0.5;
      context.fillStyle = size ? colours.grid : colours.line;
      context.fillRect(0, at, width, ratio);
    }
    this.labels = () => {
      context.font = `${10.5 * ratio}px ${colours.font}`;
      context.textBaseline = 'bottom';
      context.textAlign = 'left';
      for (let size = step; size <= this.top; size += step) {
        haloed(context, formatSize(size).replace('.0 ', ' '), 4 * ratio, y(size) - ratio, colours.soft, colours, ratio);
      }
    };
  }

  #overlays(context, width, ratio, colours, y) {
    const {run, view, hidden, runs} = this.state;
    const px = time => (time - view.from) / view.span * width;
    context.font = `${11 * ratio}px ${colours.font}`;
    if (!hidden.has('pss')) this.#pss(context, px, y, width, ratio, colours);
    if (this.showsLimit()) {
      context.strokeStyle = colours.limit;
      context.lineWidth = 1.5 * ratio;
      context.setLineDash([6 * ratio, 4 * ratio]);
      context.beginPath();
      context.moveTo(0, y(run.limit));
      context.lineTo(width, y(run.limit));
      context.stroke();
      context.setLineDash([]);
      context.textAlign = 'right';
      context.textBaseline = 'bottom';
      haloed(context, `limit ${formatSize(run.limit)}`, width - 6 * ratio, y(run.limit) - 3 * ratio, colours.limit, colours, ratio);
    }
    this.labels();
    if (hidden.has('total')) return;
    runs.forEach((each, number) => {
      if (each.max_total === null) return;
      const x = px(each.max_total_time);
      if (x < 0 || x > width) return;
      const colour = runs.length > 1 ? colours.runs[number % colours.runs.length] : colours.ink;
      context.fillStyle = colour;
      context.strokeStyle = colours.ground;
      context.lineWidth = 1.5 * ratio;
      context.beginPath();
      context.arc(x, y(each.max_total), 4 * ratio, 0, 7);
      context.fill();
      context.stroke();
      const text = `peak ${formatSize(each.max_total)}`;
      context.font = `600 ${11.5 * ratio}px ${colours.font}`;
      const room = context.measureText(text).width + 10 * ratio;
      context.textAlign = x + room > width ? 'right' : 'left';
      context.textBaseline = 'middle';
      haloed(context, text, x + (x + room > width ? -8 : 8) * ratio, Math.max(y(each.max_total), 8 * ratio), colour, colours, ratio);
    });
  }

  // Draws the sums of PSS, which are measured only now and then: joined by a line where they are
  // close, with a diamond where there is room.
  #pss(context, px, y, width, ratio, colours) {
    const {pss_time: times, pss_total: totals} = this.state.run;
    const {view} = this.state;
    const first = Math.max(0, after(times, view.from) - 1);
    const last = Math.min(times.length, after(times, view.to) + 1);
    const near = this.state.run.nearPss;
    context.strokeStyle = context.fillStyle = colours.pss;
    context.lineWidth = 1.25 * ratio;
    context.beginPath();
    for (let i = first; i < last; i++) {
      const joined = i > first && times[i] - times[i - 1] <= near;
      context[joined ? 'lineTo' : 'moveTo'](px(times[i]), y(totals[i]));
    }
    context.stroke();
    context.beginPath();
    let before = -Infinity;
    for (let i = first; i < last; i++) {
      const x = px(times[i]);
      if (x - before < 9 * ratio) continue;
      before = x;
      const [at, r] = [y(totals[i]), 3 * ratio];
      context.moveTo(x, at - r);
      context.lineTo(x + r, at);
      context.lineTo(x, at + r);
      context.lineTo(x - r, at);
      context.closePath();
    }
    context.fill();
  }
}

function haloed(context, text, x, y, colour, colours, ratio) {
  context.lineWidth = 3 * ratio;
  context.lineJoin = 'round';
  context.strokeStyle = colours.halo;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

// Draws the time axis: labels from `top` to `bottom`, lines above them.
function drawTimes(context, view, left, width, top, bottom, ratio, colours) {
  const step = niceStep(view.span / Math.max(1, width / ratio / 110));
  context.font = `${10.5 * ratio}px ${colours.font}`;
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const x = left + (time - view.from) / view.span * width;
    context.fillStyle = colours.line;
    context.fillRect(Math.round(x), top, ratio, 5 * ratio);
    context.fillStyle = colours.soft;
    const text = formatTime(time, step);
    if (x + context.measureText(text).width + 6 * ratio < left + width) context.fillText(text, x + 4 * ratio, (top + bottom) / 2 + ratio);
  }
}
