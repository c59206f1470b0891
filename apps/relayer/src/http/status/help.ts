/** The runbook as a page, so that what to do can be read where there is no internet: of Markdown what that page uses. */

import { posix } from 'node:path'
import { type Html, html } from './html.ts'
import { document } from './page.ts'

/** Beside the program in a bundle (deploy/bundle.ts). */
const RUNBOOK = import.meta.url.endsWith('.ts')
  ? new URL('../../../../../docs/operating/runbook.md', import.meta.url)
  : new URL('./runbook.md', import.meta.url)
/** Where links to other pages lead, in words: only this one is served. */
const FOLDER = 'docs/operating/'

/** The file of the runbook. */
export const RUNBOOK_FILE = RUNBOOK.pathname

/** The anchor of a heading, as the forges of repositories make it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')

/** Renders the page. */
export function helpPage(markdown: string): string {
  // Code has blank lines of its own.
  const parts = markdown.split(/^```\w*\n([\s\S]*?)^```$/m)
  const content = parts.map((part, position) =>
    position % 2 === 1 ? html`<pre><code>${codeLines(part)}</code></pre>\n` : part.split(/\n{2,}/).map(block),
  )
  const page = html`<main class="help"><p class="note"><a href="../status">back to the status</a></p>\n${content}</main>`
  return String(document('What to do', '', page))
}

/** Line breaks are code's own; nothing else unseen is. */
const codeLines = (text: string): Html[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => html`${line}<br>`)

function block(text: string): Html | null {
  const trimmed = text.trim()
  if (trimmed === '') return null
  const [, marks, heading = ''] = /^(#{1,6}) (.*)$/.exec(trimmed) ?? []
  if (marks === '#') return html`<h1>${inline(heading)}</h1>\n`
  if (marks !== undefined) return html`<h2 id="${anchorOf(heading)}">${inline(heading)}</h2>\n`
  const lines = trimmed.split('\n')
  if (lines[0]?.startsWith('- '))
    return html`<ul class="list">${itemsOf(lines).map((item) => html`<li>${inline(item)}</li>`)}</ul>\n`
  if (lines[0]?.startsWith('|')) return table(lines)
  return html`<p>${inline(lines.join(' '))}</p>\n`
}

/** An item goes on in lines that are indented. */
function itemsOf(lines: readonly string[]): string[] {
  const items: string[] = []
  for (const line of lines) {
    if (line.startsWith('- ')) items.push(line.slice(2))
    else items.push(`${items.pop() ?? ''} ${line.trim()}`)
  }
  return items
}

function table([, , ...lines]: readonly string[]): Html {
  const cells = (line: string) => line.split(/(?<!\\)\|/).slice(1, -1)
  return html`<table>${lines.map((line) => html`<tr>${cells(line).map((cell) => html`<td>${inline(cell.trim())}</td>`)}</tr>`)}</table>\n`
}

/** Code, links and bold words of a line. */
function inline(text: string): Html[] {
  return text
    .split(/(`[^`]+`|\[[^\]]+\]\([^)]+\)|\*\*[^*]+\*\*)/)
    .map((part, position) => (position % 2 === 0 ? html`${part}` : marked(part)))
}

function marked(part: string): Html {
  if (part.startsWith('`')) return html`<code>${part.slice(1, -1)}</code>`
  if (part.startsWith('**')) return html`<b>${inline(part.slice(2, -2))}</b>`
  const [, words = '', target = ''] = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part) ?? []
  if (target.startsWith('#')) return html`<a href="${target}">${inline(words)}</a>`
  return html`${inline(words)} <span class="note">(${target.startsWith('http') ? target : posix.normalize(`${FOLDER}${target}`)})</span>`
}
