// One file of results: unpacks what payload.py packed, and returns values at a time.
// Times are microseconds since the start of the command, sizes are bytes.

// How many groups have a colour of their own; the others share one.
const COLOURS = 12;

async function unpack(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 4 + new DataView(whole.buffer).getUint32(0, true);
  const document = JSON.parse(new TextDecoder().decode(whole.subarray(4, at)));
  const columns = {};
  for (const [name, count, length, scale, order] of document.columns) {
    columns[name] = column(whole.subarray(at, at + length), count, scale, order);
    at += length;
  }
  return new Run(document, columns);
}

function column(bytes, count, scale, order) {
  const out = new Float64Array(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    let byte = bytes[at++];
    if (byte < 128) {
      out[i] = byte & 1 ? -(byte + 1) / 2 : byte / 2;
      continue;
    }
    let number = byte & 127;
    // Not by shifts, which have only 32 bits.
    for (let unit = 128; byte > 127; unit *= 128) {
      byte = bytes[at++];
      number += (byte & 127) * unit;
    }
    out[i] = number % 2 ? -(number + 1) / 2 : number / 2;
  }
  for (let n = 0; n < order; n++) for (let i = 1; i < count; i++) out[i] += out[i - 1];
  if (scale > 1) for (let i = 0; i < count; i++) out[i] *= scale;
  return out;
}

// Returns the largest of sizes; 0 when there are none.
function highest(values) {
  return values.reduce((high, size) => Math.max(high, size), 0);
}

// Returns the first index in [low, high) with a later time; `high` when there is none.
function after(times, time, low = 0, high = times.length) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Returns the first index in [low, high) with that time or a later one.
function since(times, time, low = 0, high = times.length) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] >= time) high = middle;
    else low = middle + 1;
  }
  return low;
}

function starts(counts) {
  const out = new Int32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}

function picked(values, indices) {
  const out = new Float64Array(indices.length);
  for (let i = 0; i < out.length; i++) out[i] = values[indices[i]];
  return out;
}

class Run {
  constructor(document, columns) {
    Object.assign(this, document, columns);
    this.count = this.pid.length;
    this.tickTime = picked(this.moment, this.tick);
    this.sampleTime = picked(this.moment, this.sample_moment);
    // Samples of process p are those from sampleFrom[p] to sampleFrom[p + 1]; programs likewise.
    this.sampleFrom = starts(this.sample_count);
    this.partTime = picked(this.moment, this.part_moment);
    this.partFrom = starts(this.part_count);
    this.programFrom = starts(this.programs);
    this.program_since = this.program_later;
    this.program_peak = this.program_lower;
    for (let p = 0; p < this.count; p++) {
      for (let i = this.programFrom[p]; i < this.programFrom[p + 1]; i++) {
        this.program_since[i] += this.begin[p];
        this.program_peak[i] = this.peak[p] - this.program_peak[i];
      }
    }
    // A process that was still running is drawn to the end of the job.
    this.running.forEach((is, p) => { if (is) this.end[p] = Math.max(this.end[p], this.duration); });
    this.largest = highest(this.peak);
    this.from = Math.min(0, this.begin.reduce((low, time) => Math.min(low, time), 0));
    this.to = Math.max(this.duration, this.from + 1);

    // Sums of PSS that are this close in time are joined by a line.
    this.nearPss = Math.max(5 * (this.to - this.from) / Math.max(1, this.tick.length), 100e3);

    this.programGroup = Int32Array.from(this.program_group);
    this.group = Int32Array.from({length: this.count}, (_, p) => this.programGroup[this.programFrom[p + 1] - 1]);
    this.stack = this.total.length && this.has_samples ? this.#stacked() : [];
    this.kinds = this.shared.some(size => size >= 0) ? this.#byKind() : [];
  }

  nameOf(p) { return this.words[this.name[p]]; }

  // Returns the command line of the last program it ran; null when that is unknown.
  lineOf(p) {
    const line = this.program_line[this.programFrom[p + 1] - 1];
    return line < 0 ? null : this.words[line];
  }

  colourOf(p) { return this.group[p] >= 0 && this.group[p] < COLOURS ? this.group[p] : COLOURS; }

  sourceOf(p) { return this.peak_sources[this.peak_source[p]]; }

  isAlive(p, time) {
    return time >= this.begin[p] && (time < this.end[p] || (time === this.end[p] && !this.end_known[p]));
  }

  // Returns its resident size then; null when it was not alive, or not sampled yet.
  rssAt(p, time) {
    if (!this.isAlive(p, time)) return null;
    const from = this.sampleFrom[p];
    const i = after(this.sampleTime, time, from, this.sampleFrom[p + 1]);
    return i > from ? this.sample_rss[i - 1] : null;
  }

  // Returns what the resident size of a process consisted of then; null where that is not known.
  partsAt(p, time) {
    const from = this.sampleFrom[p];
    const i = after(this.sampleTime, time, from, this.sampleFrom[p + 1]);
    if (i === from || this.sample_shared[i - 1] < 0) return null;
    const shared = this.sample_shared[i - 1];
    const anonymous = this.sample_rss[i - 1] - shared;
    const first = this.partFrom[p];
    const k = after(this.partTime, time, first, this.partFrom[p + 1]);
    if (k === first) return {anonymous, shared};
    const shmem = Math.min(this.part_shmem[k - 1], shared);
    return {anonymous, shmem, file: shared - shmem, swapped: this.part_swapped[k - 1], huge: this.part_huge[k - 1]};
  }

  // Returns the tick whose values hold at that time; -1 before the first and after the end.
  tickAt(time) {
    return time > this.to ? -1 : after(this.tickTime, time) - 1;
  }

  // Returns what each group held at each tick: the largest groups, and the rest.
  #stacked() {
    const shown = Math.min(this.groups.length, COLOURS);
    const sums = Array.from({length: shown + 1}, () => new Float64Array(this.tickTime.length + 1));
    for (let p = 0; p < this.count; p++) this.#addTo(sums, p);
    const rest = sums[shown];
    for (const sum of sums) for (let i = 1; i < sum.length; i++) sum[i] += sum[i - 1];
    for (let i = 0; i < this.total.length; i++) {
      let held = 0;
      for (let g = 0; g < shown; g++) held += sums[g][i];
      // A process that ended during a tick is not in the total of that tick.
      if (held > this.total[i]) {
        for (let g = 0; g < shown; g++) sums[g][i] *= this.total[i] / held;
        rest[i] = 0;
      } else rest[i] = this.total[i] - held;
    }
    return rest.some(size => size > 0) ? sums : sums.slice(0, shown);
  }

  // Returns what the total consisted of at each tick. How much of it was shared memory is not known at
  // each; it is taken to be as before then.
  #byKind() {
    const {total, shared, shmem} = this;
    const sums = {anonymous: new Float64Array(total.length), shmem: new Float64Array(total.length), file: new Float64Array(total.length)};
    let known = 0;
    for (let i = 0; i < total.length; i++) {
      if (shared[i] < 0) continue;
      if (shmem[i] >= 0) known = shmem[i];
      sums.anonymous[i] = total[i] - shared[i];
      sums.shmem[i] = Math.min(known, shared[i]);
      sums.file[i] = shared[i] - sums.shmem[i];
    }
    const kinds = [
      {key: 'anonymous', name: 'Anonymous', colour: 0, hint: 'Heap and stacks'},
      {key: 'shmem', name: 'Shared memory', colour: 2, hint: 'tmpfs, memfd, System V: once for each process that has it'},
      {key: 'file', name: 'Files', colour: COLOURS, hint: 'The kernel can drop them and read them again'},
    ];
    if (shmem.every(size => size < 0)) {
      kinds.splice(1, 1);
      kinds[1].name = 'Files and shared memory';
    }
    return kinds.map(kind => ({...kind, sums: sums[kind.key], most: highest(sums[kind.key])}));
  }

  // Adds the changes of process p to the sums, at the ticks where they show.
  #addTo(sums, p, first = 0) {
    const {tickTime, sampleTime, sample_rss} = this;
    const gone = this.running[p] ? tickTime.length
      : this.end_known[p] ? since(tickTime, this.end[p]) : after(tickTime, this.end[p]);
    let program = this.programFrom[p];
    const programs = this.programFrom[p + 1];
    let held = 0;
    let sum = this.#sumOf(sums, program, first);
    // On exec, its memory moves to the group of the new program.
    const executeUntil = time => {
      while (program + 1 < programs && this.program_since[program + 1] <= time) {
        const moved = Math.min(since(tickTime, this.program_since[++program]), gone);
        sum[moved] -= held;
        sum = this.#sumOf(sums, program, first);
        sum[moved] += held;
      }
    };
    let tick = since(tickTime, this.begin[p]);
    for (let k = this.sampleFrom[p]; k < this.sampleFrom[p + 1]; k++) {
      executeUntil(sampleTime[k]);
      // Most samples are one tick apart.
      while (tick < tickTime.length && tickTime[tick] < sampleTime[k]) tick++;
      if (tick >= gone) break;
      sum[tick] += sample_rss[k] - held;
      held = sample_rss[k];
    }
    executeUntil(Infinity);
    sum[gone] -= held;
  }

  // Returns what one group held at each tick. Made on first use.
  heldBy(g) {
    if (g < COLOURS && this.stack.length) return this.stack[g];
    this.held ??= new Map();
    if (!this.held.has(g)) {
      const sums = [new Float64Array(this.tickTime.length + 1), new Float64Array(this.tickTime.length + 1)];
      for (const p of this.#members(g)) this.#addTo(sums, p, g);
      for (let i = 1; i < sums[0].length; i++) sums[0][i] += sums[0][i - 1];
      this.held.set(g, sums[0]);
    }
    return this.held.get(g);
  }

  // Returns the processes that ran a program of the group at some time.
  #members(g) {
    if (!this.members) {
      this.members = this.groups.map(() => []);
      for (let p = 0; p < this.count; p++) {
        for (const group of new Set(this.programGroup.subarray(this.programFrom[p], this.programFrom[p + 1]))) this.members[group]?.push(p);
      }
    }
    return this.members[g];
  }

  // Returns the sum of a program's group. `sums` has one for each group from `first` on, and one for
  // all others.
  #sumOf(sums, program, first) {
    const group = this.programGroup[program] - first;
    return sums[group >= 0 && group < sums.length - 1 ? group : sums.length - 1];
  }
}
