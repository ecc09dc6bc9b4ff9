/** The one style sheet of all pages. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f5f6f8; --card: #fff; --text: #1d2430; --soft: #566072; --line: #d5dae2;
  --accent: #2455c9; --on-accent: #fff; --danger: #b3261e; --warn-ground: #fff4d9; --warn-line: #d9a514;
  --bad-ground: #fdecea; --good-ground: #e6f4ea; --good-line: #3c8d54;
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12151b; --card: #1b2029; --text: #e7eaf0; --soft: #a3adbd; --line: #384152;
    --accent: #8fb1ff; --on-accent: #10182b; --danger: #ff9d94; --warn-ground: #352b11; --warn-line: #b98b12;
    --bad-ground: #3a1d1b; --good-ground: #16301f; --good-line: #4d9e66;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); }
main, header, footer { max-width: 27rem; margin: 0 auto; padding: 0 1rem; }
.wide main, .wide header, .wide footer { max-width: 44rem; }
header { display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding-top: 1.4rem; }
header .name { font-weight: 650; color: inherit; text-decoration: none; letter-spacing: .01em; }
header nav a { margin-left: 1rem; }
main > section {
  margin: 1.2rem 0; padding: 1.4rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
footer { padding-bottom: 2.5rem; color: var(--soft); font-size: .9rem; }
h1 { font-size: 1.45rem; line-height: 1.3; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0 0 .4rem; }
p + h2 { margin-top: 1rem; }
main > section > :last-child { margin-bottom: 0; }
.wide form:not(.inline) { max-width: 24rem; }
p, ul, ol, dl { margin: .5rem 0; }
.soft, .hint { color: var(--soft); }
.hint { font-size: .9rem; }
a { color: var(--accent); }
code, pre { font: .92em/1.5 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; overflow-wrap: anywhere; }
code.whole { white-space: nowrap; }
pre {
  margin: .8rem 0; padding: .8rem 1rem; background: var(--ground); border: 1px solid var(--line); border-radius: .5rem;
  overflow-x: auto; overflow-wrap: normal;
}
pre.call { max-height: 40rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
mark { padding: 0 .2rem; border-radius: .2rem; color: var(--text); background: var(--warn-ground); border: 1px solid var(--warn-line); }
ins { background: var(--good-ground); text-decoration: none; }
del { background: var(--bad-ground); text-decoration: none; }
button[disabled] { opacity: .55; cursor: not-allowed; }
form { margin: 1rem 0 0; }
form.inline { margin: 0; }
label { display: block; margin-top: .9rem; font-weight: 600; }
input:not([type=hidden], [hidden]) {
  display: block; width: 100%; margin-top: .3rem; padding: .6rem .7rem; font: inherit; color: inherit;
  background: var(--card); border: 1px solid var(--soft); border-radius: .45rem;
}
input[readonly] { background: var(--ground); border-color: var(--line); }
input.code {
  font: 600 1.5rem/1.3 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; letter-spacing: .12em; text-align: center;
  text-transform: uppercase;
}
button, .button {
  display: block; width: 100%; margin-top: 1.1rem; padding: .65rem 1rem; font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; color: var(--on-accent); background: var(--accent);
  border: 1px solid var(--accent); border-radius: .45rem; cursor: pointer;
}
button.second, .button.second { color: var(--text); background: transparent; border-color: var(--soft); }
button.small {
  display: inline-block; width: auto; margin: 0; padding: .3rem .75rem; font-size: .9rem; color: var(--danger);
  background: transparent; border-color: var(--danger);
}
.inline button.link {
  display: inline; width: auto; margin: 0; padding: 0; color: var(--accent); background: none; border: 0;
  font-weight: 400; text-decoration: underline;
}
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.two { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.1rem; }
.two > * { flex: 1 1 9rem; margin-top: 0; }
.or { display: flex; align-items: center; gap: .8rem; margin: 1.2rem 0 -.2rem; color: var(--soft); font-size: .9rem; }
.or::before, .or::after { content: ''; flex: 1; border-top: 1px solid var(--line); }
.note { margin: .8rem 0; padding: .65rem .9rem; border-radius: .45rem; border-left: 4px solid; overflow-wrap: anywhere; }
.note.bad { background: var(--bad-ground); border-color: var(--danger); }
.note.warn { background: var(--warn-ground); border-color: var(--warn-line); }
.note.good { background: var(--good-ground); border-color: var(--good-line); }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .35rem 1rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul.rows { list-style: none; padding: 0; margin: .8rem 0 0; }
ul.rows > li {
  display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding: .75rem 0;
  border-top: 1px solid var(--line);
}
ul.rows > li > div { min-width: 0; overflow-wrap: anywhere; }
ul.rows .hint { margin: 0; }
ul.plain { padding-left: 1.2rem; }
.badge {
  display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .8rem; font-weight: 600;
  background: var(--good-ground); border: 1px solid var(--good-line);
}
@media (max-width: 30rem) {
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  ul.rows > li { flex-wrap: wrap; }
}
`;

/** A tower, for the browser's tab. */
export const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#2455c9" d="M2 1h3v2h2V1h2v2h2V1h3v5l-2 1v6h1v2H3v-2h1V7L2 6z"/><path fill="#fff" d="M7 10a1 1 0 0 1 2 0v5H7z"/></svg>';
