// Selections: a file, a process, a group, or the matches of a search.

function chooseRun(run) {
  state.run = run;
  state.hidden = new Set([...state.hidden].filter(key => typeof key === 'string'));
  state.focus = null;
  state.hovered = null;
  state.order = run.count > MANY ? 'command' : 'parent';
  $('lanes').scrollTop = 0;
  showRun();
  chart.choose();
  lanes.choose();
  if (run.count > MANY) lanes.foldAll();
  press($('by-parent'), run.count <= MANY);
  press($('by-command'), run.count > MANY);
  $('by-command').textContent = $('stack-groups').textContent = `By ${run.group_by}`;
  makeTables();
  showFocus();
  showLegend();
  showRuns();
  search();
  state.pinned = null;
  showDetails();
  draw();
}

function makeTables() {
  const {run} = state;
  const known = value => (value < 0 ? null : value);
  const cpu = p => (run.user[p] < 0 ? null : run.user[p] + run.system[p]);
  tables = {
    processes: new Table($('process-table'), 'Processes', [
      {title: 'Process', wide: 'minmax(110px, 1.1fr)', text: p => run.nameOf(p), order: p => run.nameOf(p), swatch: p => swatch(colours.groups[run.colourOf(p)])},
      {title: 'PID', wide: '70px', number: true, text: p => run.pid[p], order: p => run.pid[p]},
      {title: 'Peak RSS', wide: '92px', number: true, first: true, text: p => (run.sourceOf(p) === 'unknown' ? 'unknown' : formatSize(run.peak[p])), order: p => (run.sourceOf(p) === 'unknown' ? null : run.peak[p])},
      {title: 'Peak is', wide: '84px', text: p => run.sourceOf(p), order: p => run.peak_source[p], hint: 'exact; watermark and sampled are lower bounds'},
      {title: 'Start', wide: '100px', number: true, text: p => formatTime(run.begin[p], 1e3), order: p => run.begin[p]},
      {title: 'Lived', wide: '84px', number: true, text: p => formatDuration(run.end[p] - run.begin[p]), order: p => run.end[p] - run.begin[p]},
      {title: 'CPU', wide: '84px', number: true, text: p => (cpu(p) === null ? '' : formatDuration(cpu(p))), order: cpu},
      {title: 'Exit', wide: '90px', text: p => exitText(run, p), order: p => known(run.status[p])},
      {title: 'Command line', wide: 'minmax(180px, 4fr)', kind: 'command', text: p => run.lineOf(p) ?? 'unknown', order: p => run.lineOf(p)},
    ], p => pin(p === state.pinned ? null : p, {showLane: true})),
    groups: new Table($('group-table'), `Groups of processes, ${run.grouped}`, [
      {title: 'Group', wide: 'minmax(140px, 2fr)', text: g => run.groups[g][0], order: g => run.groups[g][0], swatch: g => swatch(colours.groups[Math.min(g, COLOURS)])},
      {title: 'Processes', wide: '110px', number: true, text: g => formatNumber(run.groups[g][1]), order: g => run.groups[g][1]},
      {title: 'Peak at one time', wide: '150px', number: true, first: true, text: g => sizeOr(run.groups[g][2]), order: g => run.groups[g][2]},
      {title: 'At', wide: '110px', number: true, text: g => (run.groups[g][3] === null ? '' : formatTime(run.groups[g][3], 1e3)), order: g => run.groups[g][3]},
      {title: 'Sum of peaks', wide: '150px', number: true, text: g => sizeOr(run.groups[g][4]), order: g => run.groups[g][4], hint: 'The peaks of its processes added up, which were not necessarily at one time'},
    ], g => focusGroup(g === state.focus ? null : g)),
  };
}

function sizeOr(size) { return size === null ? 'unknown' : formatSize(size); }

// Formats a status of wait(2).
function exitText(run, p) {
  if (run.running[p]) return 'running';
  if (run.killed[p] > 1) return run.killed_by[run.killed[p]];
  const status = run.status[p];
  if (status < 0) return '';
  return status & 127 ? `signal ${status & 127}` : String(status >> 8);
}

function pin(p, {showLane = false} = {}) {
  state.pinned = p;
  tables.processes.select(p, {reveal: true});
  if (p !== null && showLane) reveal(p);
  showDetails();
  redraw();
}

// Scrolls to the lane of a process, and moves in time if it is out of view.
function reveal(p) {
  const {run, view} = state;
  if (run.end[p] < view.from || run.begin[p] > view.to) {
    const middle = (run.begin[p] + run.end[p]) / 2;
    const span = Math.max(view.span, (run.end[p] - run.begin[p]) * 1.2);
    view.show(middle - span / 2, middle + span / 2);
  }
  lanes.unfold(p);
  arrangeLanes();
  const box = $('lanes');
  const top = lanes.rowOf(p) * ROW;
  if (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

function showDetails() {
  const {run, pinned: p} = state;
  const place = $('details');
  place.hidden = p === null;
  if (p === null) return;
  const rows = [];
  const row = (name, value, kind = '') => {
    rows.push(element('dt', {textContent: name}), element('dd', {className: kind}, value));
  };
  const source = run.sourceOf(p);
  row('Peak', source === 'unknown' ? 'unknown: its memory was never seen' : `${formatKib(run.peak[p])}`);
  if (source !== 'unknown') {
    const bound = source === 'exact' ? '' : ', a lower bound';
    row('Peak is', `${source}${bound}`);
    row('At', formatExact(run.peak_time[p]));
  }
  row('Started', `${formatExact(run.begin[p])}${run.start_known[p] ? '' : ' (first seen)'}`);
  row('Ended', run.running[p] ? 'still running at the end' : `${formatExact(run.end[p])}${run.end_known[p] ? '' : ' (last seen)'}`);
  row('Lived', formatDuration(run.end[p] - run.begin[p]));
  row('Exit', exitText(run, p) || 'unknown');
  row('CPU', run.user[p] < 0 ? 'unknown' : `${formatDuration(run.user[p])} user, ${formatDuration(run.system[p])} system`);
  row('Storage', run.read[p] < 0 ? 'unknown' : `${formatSize(run.read[p])} read, ${formatSize(run.written[p])} written`);
  row('Parent', parentOf(run, p));
  row('Found by', {events: 'kernel events', record: 'its exit record', hook: 'the exit hook', sampling: 'sampling'}[run.found_by[run.found[p]]]);
  const programs = [];
  for (let i = run.programFrom[p]; i < run.programFrom[p + 1]; i++) programs.push(program(run, i));
  const close = element('button', {textContent: '×', 'aria-label': 'Deselect the process', className: 'close'});
  close.addEventListener('click', () => pin(null));
  const zoom = element('button', {textContent: 'Zoom to its life'});
  zoom.addEventListener('click', () => {
    const margin = Math.max((run.end[p] - run.begin[p]) * 0.1, 50);
    state.view.show(run.begin[p] - margin, run.end[p] + margin);
    reveal(p);
    redraw();
  });
  place.replaceChildren(
    element('h2', {}, swatch(colours.groups[run.colourOf(p)]), run.nameOf(p), element('small', {textContent: `pid ${run.pid[p]}`}), close),
    element('pre', {textContent: run.lineOf(p) ?? 'command line unknown'}),
    zoom,
    element('dl', {}, ...rows),
    element('h3', {textContent: programs.length > 1 ? 'Programs it ran' : 'Program'}),
    element('ol', {}, ...programs),
  );
}

function parentOf(run, p) {
  const parent = run.parent[p];
  if (parent < 0) return `pid ${run.ppid[p]}, not in the job`;
  const button = element('button', {textContent: `${run.nameOf(parent)}, pid ${run.pid[parent]}`, className: 'link'});
  button.addEventListener('click', () => pin(parent, {showLane: true}));
  return button;
}

function program(run, i) {
  const source = run.peak_sources[run.program_source[i]];
  const size = source === 'unknown' ? 'peak unknown' : `${formatSize(run.program_peak[i])} ${source}`;
  const line = run.program_line[i] < 0 ? '' : run.words[run.program_line[i]];
  const exe = run.program_exe[i] < 0 ? '' : run.words[run.program_exe[i]];
  const where = run.program_cwd[i] < 0 ? '' : ` in ${run.words[run.program_cwd[i]]}`;
  return element('li', {},
    element('b', {textContent: run.words[run.program_name[i]]}),
    element('span', {textContent: ` at ${formatExact(run.program_since[i])}${run.program_forked[i] ? ', forked' : ''}: ${size}`}),
    element('code', {textContent: line}), element('code', {textContent: exe + where, className: 'exe'}));
}

function focusGroup(g) {
  state.focus = g;
  if (state.order === 'command') lanes.closed.delete(~g);
  tables.groups.select(g, {reveal: true});
  $('lanes').scrollTop = 0;
  showFocus();
  showRows();
  redraw();
}

function showFocus() {
  const {run, focus} = state;
  $('focus').hidden = focus === null;
  if (focus !== null) $('focus').textContent = `${run.groups[focus][0]} only ×`;
}

function showRows() {
  const {run, matches, focus} = state;
  const rows = [];
  for (let p = 0; p < run.count; p++) {
    if ((!matches || matches[p]) && (focus === null || run.group[p] === focus)) rows.push(p);
  }
  tables.processes.show(rows);
  const pattern = searched();
  tables.groups.show([...run.groups.keys()].filter(g => !pattern || pattern.test(run.groups[g][0])));
  $('tab-processes').textContent = `Processes (${formatNumber(rows.length)})`;
  $('tab-groups').textContent = `Groups (${formatNumber(tables.groups.rows.length)})`;
}

// Returns the pattern of the search; null for none. Throws when it is not a regular expression.
function searched() {
  const text = $('search').value;
  return text ? new RegExp(text, 'i') : null;
}

function search() {
  const {run} = state;
  let pattern;
  try {
    pattern = searched();
  } catch (error) {
    $('search-error').textContent = `not a regular expression: ${error.message.split(': ').pop()}`;
    $('search').setAttribute('aria-invalid', 'true');
    return;
  }
  $('search-error').textContent = '';
  $('search').removeAttribute('aria-invalid');
  state.matches = null;
  if (pattern) {
    lanes.closed.clear();
    // Each text is searched only once.
    const found = run.words.map(word => pattern.test(word));
    state.matches = Uint8Array.from(run.name, (word, p) => {
      const line = run.program_line[run.programFrom[p + 1] - 1];
      return found[word] || (line >= 0 && found[line]);
    });
  }
  $('lanes').scrollTop = 0;
  showRows();
  redraw();
}
