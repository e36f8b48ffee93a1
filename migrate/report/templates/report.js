"use strict";
// Tables from the data below the page: sorted, filtered, folded, a page of rows at a time. Text only ever as text.
(() => {
  const PRINTED = 2000, tables = new Map();

  function make(tag, attributes, ...inner) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...inner.filter((each) => each !== null && each !== undefined));
    return element;
  }

  const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
  function size(bytes) {
    let place = 0;
    while (bytes >= 999.5 && place < UNITS.length - 1) { bytes /= 1000; place += 1; }
    return `${place && bytes < 99.95 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[place]}`;
  }
  function duration(seconds) {
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }
  const shown = {
    size: (value) => (value ? size(value) : "-"),
    seconds: (value) => (value === null ? "-" : duration(value)),
    number: (value) => (value === null ? "-" : value.toLocaleString("en")),
    time: (value) => (value ? value.replace("T", " ").replace(/\.\d+Z$/, "Z") : ""),
  };
  const isNumber = (type) => ["size", "seconds", "number"].includes(type);

  class Table {
    constructor(place) {
      const data = JSON.parse(document.getElementById(`data-${place.dataset.table}`).textContent);
      Object.assign(this, { place, id: place.dataset.table, title: place.dataset.title, columns: data.columns, strings: data.strings });
      this.rows = data.rows.map((row, number) => ({ number, row, bad: data.bad ? data.bad[number] === "1" : false }));
      this.order = null; this.down = false; this.query = ""; this.onlyBad = false; this.from = 0; this.size = this.most = Number(place.dataset.page);
      this.open = new Set();
      this.build();
      this.draw();
    }
    value(item, place) {
      const value = item.row[place];
      return isNumber(this.columns[place].type) ? value : this.strings[value];
    }
    text(item) {
      item.text ||= this.columns.map((column, place) => (column.command || column.link ? "" : this.words(item, place))).join("\n").toLowerCase();
      return item.text;
    }
    matching(query) {
      const wanted = [...query.toLowerCase().matchAll(/([a-z]+)=(?:"([^"]*)"|(\S+))|\S+/g)].map(([word, key, quoted, plain]) => {
        const place = key ? this.columns.findIndex((column) => column.key === key) : -1;
        return place < 0 ? (item) => this.text(item).includes(word) : (item) => this.value(item, place).toLowerCase().split("\n").includes(quoted ?? plain);
      });
      return this.rows.filter((item) => wanted.every((fits) => fits(item)));
    }
    found() {
      const rows = this.matching(this.query).filter((item) => !this.onlyBad || item.bad);
      if (this.order !== null) {
        const numeric = isNumber(this.columns[this.order].type), sign = this.down ? -1 : 1;
        const collator = new Intl.Collator("en", { numeric: true });
        rows.sort((a, b) => {
          const one = this.value(a, this.order), other = this.value(b, this.order);
          const way = numeric ? (one ?? -1) - (other ?? -1) : collator.compare(one, other);
          return sign * way || a.number - b.number;
        });
      }
      return rows;
    }
    build() {
      this.input = make("input", { type: "search", id: `filter-${this.id}`, placeholder: "words that must be there", oninput: () => this.filter(this.input.value) });
      const label = make("label", { for: `filter-${this.id}` }, "Filter ");
      const hasBad = this.rows.some((item) => item.bad);
      this.box = make("input", { type: "checkbox", id: `bad-${this.id}`, onchange: () => { this.onlyBad = this.box.checked; this.from = 0; this.draw(); } });
      const only = hasBad ? make("span", {}, this.box, " ", make("label", { for: `bad-${this.id}` }, "only what is not in order")) : null;
      this.count = make("span", { role: "status", class: "dim" });
      this.back = make("button", { type: "button", onclick: () => this.page(-this.size) }, "Previous");
      this.next = make("button", { type: "button", onclick: () => this.page(this.size) }, "Next");
      this.rest = make("p", { class: "rest" });
      this.head = make("tr", {});
      this.body = make("tbody", {});
      const caption = make("caption", { class: "hidden" }, this.title);
      this.table = make("table", {}, caption, make("thead", {}, this.head), this.body);
      this.place.append(make("div", { class: "controls" }, label, this.input, only, this.count, this.back, this.next), make("div", { class: "scroll" }, this.table), this.rest);
      this.folds = this.columns.some((column) => column.fold);
      if (this.folds) this.head.append(make("th", { class: "fold", scope: "col" }, make("span", { class: "hidden" }, "More")));
      this.columns.forEach((column, place) => {
        if (column.fold) return;
        const button = make("button", { type: "button", onclick: () => this.sort(place) }, column.label);
        column.head = make("th", { scope: "col", class: this.style(column) }, button);
        this.head.append(column.head);
      });
    }
    style(column) {
      return [isNumber(column.type) ? "number" : "", column.long ? "long" : "", column.name ? "name" : "", column.wide ? "wide" : ""].filter(Boolean).join(" ");
    }
    sort(place) {
      this.down = this.order === place ? !this.down : isNumber(this.columns[place].type);
      this.order = place; this.from = 0;
      this.columns.forEach((column, each) => {
        if (column.head) each === place ? column.head.setAttribute("aria-sort", this.down ? "descending" : "ascending") : column.head.removeAttribute("aria-sort");
      });
      this.draw();
    }
    filter(query) { this.query = query; this.from = 0; this.draw(); }
    page(step) {
      this.from = Math.max(0, this.from + step);
      this.draw();
      this.place.scrollIntoView();
      if (this.back.disabled) this.next.focus();
      if (this.next.disabled) this.back.focus();
    }
    print(isPrinted) {
      if (isPrinted) this.before = this.from;
      this.from = isPrinted ? 0 : this.before;
      this.most = isPrinted ? PRINTED : this.size;
      this.draw();
    }
    draw() {
      const rows = this.found();
      if (this.from >= rows.length) this.from = 0;
      const last = Math.min(this.from + this.most, rows.length);
      this.body.replaceChildren(...rows.slice(this.from, last).flatMap((item) => this.lines(item)));
      const all = rows.length === this.rows.length ? "" : ` (of ${this.rows.length.toLocaleString("en")})`;
      this.count.textContent = rows.length ? `${(this.from + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${rows.length.toLocaleString("en")}${all}` : `nothing${all}`;
      const left = rows.length - (last - this.from);
      this.rest.textContent = left ? `The other ${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows are not printed: report --markdown, --csv and --json have all.` : "";
      this.back.hidden = this.next.hidden = rows.length <= this.size;
      this.back.disabled = this.from === 0; this.next.disabled = last >= rows.length;
    }
    toggle(item) {
      this.open.delete(item.number) || this.open.add(item.number);
      this.draw();
      this.body.querySelector(`button[data-row="${item.number}"]`).focus();
    }
    lines(item) {
      const cells = this.columns.map((column, place) => column.fold ? null : make("td", { class: `${this.style(column)} ${column.outcome ? (item.bad ? "bad" : "good") : ""}`.trim() || null }, this.shown(item, place))).filter(Boolean);
      if (!this.folds) return [make("tr", {}, ...cells)];
      const isOpen = this.open.has(item.number);
      const button = make("button", { type: "button", "aria-expanded": String(isOpen), "aria-label": `More on ${this.value(item, 0)}`, "data-row": String(item.number), onclick: () => this.toggle(item) }, isOpen ? "−" : "+");
      const line = make("tr", {}, make("td", { class: "fold" }, button), ...cells);
      return isOpen ? [line, make("tr", {}, make("td", { class: "fold" }), make("td", { colspan: String(cells.length) }, this.more(item)))] : [line];
    }
    words(item, place) {
      const value = this.value(item, place), as = shown[this.columns[place].type];
      return as ? as(value) : value;
    }
    shown(item, place) {
      const column = this.columns[place], text = this.words(item, place);
      return column.code && text ? make("code", {}, text) : text;
    }
    more(item) {
      const list = make("dl", { class: "more" });
      this.columns.forEach((column, place) => {
        if (!(column.fold || column.wide || column.long) || !this.value(item, place)) return;
        const value = this.shown(item, place);
        const inner = column.command ? make("span", { class: "command" }, make("code", {}, value), " ", copier(value)) : column.link ? links(column.link, value) : value;
        const narrow = column.wide || column.long ? { class: "narrow" } : {};
        if (inner) list.append(make("dt", narrow, column.label), make("dd", narrow, inner));
      });
      return list;
    }
  }

  function links(wanted, value) {
    const found = wanted.map(([id, words]) => [id, words, tables.get(id)]).filter(([, , table]) => table)
      .map(([id, words, table]) => [id, words, table.matching(value).length]).filter(([, , number]) => number);
    return found.length ? make("span", {}, ...found.flatMap(([id, words, number]) => [make("a", { href: `#${id}?${encodeURIComponent(value)}` }, `${words} (${number})`), " "])) : null;
  }

  function copier(text) { return make("button", { type: "button", "data-copy": text }, "Copy"); }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(button.previousElementSibling); button.textContent = "Press Ctrl+C"; }
  });

  let followed = null; // the table that a link has filtered, and how
  function follow() {
    const [id, query] = location.hash.slice(1).split("?");
    const table = tables.get(id);
    if (followed && (!table || query === undefined) && followed.table.input.value === followed.query) {
      followed.table.filter(followed.table.input.value = "");
      followed = null;
    }
    if (!table || query === undefined) return;
    try { table.input.value = decodeURIComponent(query); } catch { table.input.value = query; }
    table.box.checked = table.onlyBad = false;
    table.filter(table.input.value);
    followed = { table, query: table.input.value };
    document.getElementById(id).scrollIntoView();
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href*='?']");
    if (link && link.getAttribute("href") === location.hash) follow(); // nothing changes, and yet it was asked for
  });

  for (const place of document.querySelectorAll("[data-table]")) tables.set(place.dataset.table, new Table(place));
  addEventListener("hashchange", follow);
  const details = [...document.querySelectorAll("details")], opened = new Set();
  addEventListener("beforeprint", () => {
    for (const each of details) { if (each.open) opened.add(each); each.open = true; }
    for (const table of tables.values()) table.print(true);
  });
  addEventListener("afterprint", () => {
    for (const each of details) each.open = opened.has(each);
    for (const table of tables.values()) table.print(false);
  });
  follow();
  document.documentElement.dataset.ready = "yes";
})();
