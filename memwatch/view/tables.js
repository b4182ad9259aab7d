// Tables of any number of rows. Only the visible rows are in the document.

const LINE = 24;  // height of a row, in pixels; viewer.css has the same

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes('-') || key === 'role') made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

class Table {
  // columns: {title, text(row), order(row), wide, number, hint}. `choose` is called with the row that is clicked.
  constructor(place, label, columns, choose) {
    this.columns = columns;
    this.choose = choose;
    this.rows = [];
    this.chosen = null;
    this.sorting = {by: columns.findIndex(column => column.first), falling: true};
    const widths = columns.map(column => column.wide).join(' ');
    this.buttons = columns.map((column, i) => {
      const button = element('button', {textContent: column.title, title: column.hint ?? ''});
      button.addEventListener('click', () => this.sort(i));
      return button;
    });
    this.heads = this.buttons.map((button, i) =>
      element('div', {role: 'columnheader', className: columns[i].number ? 'number' : ''}, button));
    const head = element('div', {role: 'row', className: 'line head'}, ...this.heads);
    head.style.gridTemplateColumns = widths;
    this.body = element('div', {role: 'rowgroup', className: 'rows'});
    this.widths = widths;
    this.place = element('div', {role: 'table', 'aria-label': label, className: 'sheet'},
      element('div', {role: 'rowgroup', className: 'heads'}, head), this.body);
    this.scroll = place;
    place.replaceChildren(this.place);
    place.addEventListener('scroll', () => this.draw());
    this.#showOrder();
  }

  sort(by) {
    const falling = this.sorting.by === by ? !this.sorting.falling : Boolean(this.columns[by].number);
    this.sorting = {by, falling};
    this.#showOrder();
    this.#arrange();
    this.scroll.scrollTop = 0;
    this.draw();
  }

  #showOrder() {
    const {by, falling} = this.sorting;
    this.heads.forEach((head, i) => {
      head.setAttribute('aria-sort', i === by ? (falling ? 'descending' : 'ascending') : 'none');
    });
  }

  show(rows) {
    this.rows = rows;
    this.#arrange();
    this.draw();
  }

  // Unknown values come last, in either order.
  #arrange() {
    const {by, falling} = this.sorting;
    const {order} = this.columns[by];
    const keyed = this.rows.map(row => ({row, key: order(row)}));
    const sign = falling ? -1 : 1;
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      return a.key < b.key ? -sign : a.key > b.key ? sign : a.row - b.row;
    });
    this.rows = keyed.map(each => each.row);
    this.body.style.height = `${this.rows.length * LINE}px`;
    this.place.setAttribute('aria-rowcount', this.rows.length + 1);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / LINE) - 2);
    const last = Math.min(this.rows.length, first + Math.ceil(this.scroll.clientHeight / LINE) + 4);
    const focused = document.activeElement?.closest?.('.line')?.dataset.row;
    const lines = [];
    for (let i = first; i < last; i++) lines.push(this.#line(i));
    this.body.replaceChildren(...lines);
    if (focused !== undefined) this.body.querySelector(`[data-row="${focused}"] button`)?.focus({preventScroll: true});
  }

  #line(i) {
    const row = this.rows[i];
    const line = element('div', {role: 'row', className: 'line', 'aria-rowindex': i + 2});
    line.dataset.row = row;
    line.style.top = `${i * LINE}px`;
    line.style.gridTemplateColumns = this.widths;
    if (row === this.chosen) line.setAttribute('aria-selected', 'true');
    this.columns.forEach((column, n) => {
      const text = column.text(row);
      const cell = element('div', {role: 'cell', className: column.number ? 'number' : column.kind ?? ''});
      if (n) cell.textContent = text;
      else cell.append(element('button', {textContent: text}));
      if (column.kind === 'command') cell.title = text;
      if (column.swatch) cell.prepend(column.swatch(row));
      line.append(cell);
    });
    line.addEventListener('click', () => this.choose(row));
    return line;
  }

  // Selects a row; null selects none.
  select(row, {reveal = false} = {}) {
    this.chosen = row;
    const i = row === null || !reveal ? -1 : this.rows.indexOf(row);
    if (i >= 0) {
      const top = i * LINE;
      const room = this.scroll.clientHeight - LINE;
      if (top < this.scroll.scrollTop || top + LINE > this.scroll.scrollTop + room) {
        this.scroll.scrollTop = Math.max(0, top - room / 2);
      }
    }
    this.draw();
  }
}
