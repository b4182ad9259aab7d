// The stretch of time that is shown, and the formatting of numbers.

class View {
  constructor(from, to) {
    this.whole = {from, to};
    this.reset();
  }

  get span() { return this.to - this.from; }

  // 20 microseconds across: times are not known more exactly.
  get shortest() { return Math.min(20, this.whole.to - this.whole.from); }

  reset() { this.show(this.whole.from, this.whole.to); }

  // Shows a stretch, moved and cut so that it lies within the whole.
  show(from, to) {
    const {from: first, to: last} = this.whole;
    const span = Math.min(Math.max(to - from, this.shortest), last - first);
    this.from = Math.min(Math.max(from, first), last - span);
    this.to = this.from + span;
  }

  // Zooms; `time` stays in place on the screen.
  zoom(factor, time) {
    const span = Math.min(Math.max(this.span * factor, this.shortest), this.whole.to - this.whole.from);
    const from = time - (time - this.from) * span / this.span;
    this.show(from, from + span);
  }

  pan(by) { this.show(this.from + by, this.to + by); }
}

// Returns a step of 1, 2 or 5 times a power of ten, or of the clock.
function niceStep(least) {
  const clock = [60e6, 120e6, 300e6, 600e6, 1200e6, 1800e6, 3600e6, 7200e6, 14400e6, 43200e6, 86400e6];
  if (least > 30e6) return clock.find(step => step >= least) ?? Math.ceil(least / 86400e6) * 86400e6;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].find(n => n * power >= least * 0.999) * power;
  return step > 10e6 ? 30e6 : step;
}

// Returns a step for sizes: a power of two, so that labels are round.
function niceSize(least) { return 2 ** Math.ceil(Math.log2(Math.max(least, 1024))); }

// Formats a time on an axis whose lines are `step` apart.
function formatTime(time, step) {
  if (step >= 1e6 && time >= 60e6) return clockTime(time, 0);
  const digits = Math.max(0, Math.ceil(-Math.log10(step / 1e6) - 1e-9));
  return `${(time / 1e6).toFixed(digits)} s`;
}

function formatExact(time) {
  return Math.abs(time) >= 60e6 ? clockTime(time, 6) : `${(time / 1e6).toFixed(6)} s`;
}

function clockTime(time, digits) {
  const sign = time < 0 ? '−' : '';
  const [seconds, rest] = (Math.abs(time) / 1e6).toFixed(digits).split('.');
  const two = number => String(number).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${sign}${h ? `${h}:${two(m)}` : m}:${two(s)}${rest ? `.${rest}` : ''}`;
}

function formatDuration(time) {
  if (time < 1e3) return `${time} µs`;
  if (time < 1e6) return `${(time / 1e3).toPrecision(3)} ms`;
  return time < 60e6 ? `${(time / 1e6).toFixed(2)} s` : clockTime(time, 1);
}

// Formats a size as units.py does.
function formatSize(size) {
  let value = size / 1024;
  if (value < 1023.5) return `${value.toFixed(0)} KiB`;
  for (const unit of ['MiB', 'GiB']) {
    value /= 1024;
    if (value < 1023.95) return `${value.toFixed(1)} ${unit}`;
  }
  return `${(value / 1024).toFixed(1)} TiB`;
}

// Formats a size to the last KiB.
function formatKib(size) {
  const text = formatSize(size);
  return text.endsWith('KiB') ? text : `${text} (${formatNumber(size / 1024)} KiB)`;
}

function formatNumber(number) { return number.toLocaleString('en-US', {maximumFractionDigits: 1}); }
