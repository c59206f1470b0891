/** What documentation names, held against the tree: links, anchors, paths, commands, settings, metrics. Pure: the tree is handed in. */

import { posix } from 'node:path'

/** What there is to be named. */
export interface Tree {
  /** Whether the repository has a file or folder of this path. */
  has(path: string): boolean
  /** The text of a Markdown file that is there. */
  read(path: string): string
  /** Of package.json; those of a package of the repository with ` -w NAME`. */
  readonly scripts: ReadonlySet<string>
  /** Settings, and the other words in upper case that may stand in backticks. */
  readonly words: ReadonlySet<string>
  readonly metrics: ReadonlySet<string>
}

const FENCE = /^```[^\n]*\n([\s\S]*?)^```$/gm
const LINK = /\[[^\]]*\]\(([^()\s]+)\)/g
const SPAN = /`([^`\n]+)`/g
const NPM_RUN = /\bnpm (?:-s )?run (?:-s )?([a-z][\w:-]*(?: -w [\w@/-]+)?)/g
/** A path below one of the folders of the repository; one with a wildcard or a placeholder names no single file. */
const REPOSITORY_PATH = /^(?:apps|libs|deploy|docs|test|migrations|\.ci)\/[^\s*{<…|]+$/
const ROOT_FILE =
  /^(?:[A-Z]+\.md|CODEOWNERS|Dockerfile|docker-compose\.yml|\.env\.example|(?:package|biome|tsconfig)\.json)$/
/** `NAME` and `NAME=value`. */
const UPPER_CASE = /^([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*)(?:=.*)?$/
const SET_IN_SHELL = /^(?:export )?([A-Z][A-Z0-9_]+)=/gm
const METRIC = /^dvt_(?:relayer|sidecar)_\w+$/
const CITED_PAGE = /\bdocs\/[\w/-]+\.md(?:#[\w-]+)?/g
/** "protocol section 7" in any spelling: a reader cannot follow it. */
const BARE_SECTION = /\bprotocol(?:\.md)?,?(?:\s|\*)+sections?\s+\d+/gi

/** The anchors of a page, as GitHub makes them of its headings. */
export function anchorsOf(markdown: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of markdown.replaceAll(FENCE, '').matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`
    anchors.add(anchor)
  }
  return anchors
}

/** Why `path#anchor` leads nowhere; undefined where it leads somewhere. */
function deadEnd(target: string, tree: Tree): string | undefined {
  const [path = '', anchor] = target.split('#')
  if (!tree.has(path)) return `${path} is not there`
  if (anchor === undefined || anchorsOf(tree.read(path)).has(anchor)) return undefined
  return `${path} has no heading #${anchor}`
}

/** Everything a Markdown page names that is not there, one line each. */
export function findDocProblems(page: string, text: string, tree: Tree): string[] {
  const problems: string[] = []
  const prose = text.replaceAll(FENCE, '')
  const code = Array.from(text.matchAll(FENCE), ([, body = '']) => body).join('\n')
  const spans = Array.from(prose.matchAll(SPAN), ([, span = '']) => span)

  for (const [, target = ''] of prose.replaceAll(SPAN, '``').matchAll(LINK)) {
    if (/^[a-z]+:/.test(target)) continue
    const path = target.startsWith('#') ? `${page}${target}` : posix.join(posix.dirname(page), target)
    const problem = deadEnd(path, tree)
    if (problem !== undefined) problems.push(`dead link: ${problem}`)
  }
  for (const span of spans) {
    if (REPOSITORY_PATH.test(span) || ROOT_FILE.test(span)) {
      const problem = deadEnd(span, tree)
      if (problem !== undefined) problems.push(`missing path: ${problem}`)
    }
    if (METRIC.test(span) && !tree.metrics.has(span)) problems.push(`unknown metric: ${span}`)
  }
  for (const [, script = ''] of `${spans.join('\n')}\n${code}`.matchAll(NPM_RUN))
    if (!tree.scripts.has(script)) problems.push(`unknown command: npm run ${script}`)
  const named = spans.flatMap((span) => UPPER_CASE.exec(span)?.[1] ?? [])
  const set = Array.from(code.matchAll(SET_IN_SHELL), ([, name = '']) => name)
  for (const name of [...named, ...set]) if (!tree.words.has(name)) problems.push(`unknown setting: ${name}`)
  return [...new Set(problems)]
}

/** Every page of docs that a source file cites and that is not there, and every section it names without its page. */
export function findCitationProblems(text: string, tree: Tree): string[] {
  const dead = Array.from(text.matchAll(CITED_PAGE), ([cited]) => deadEnd(cited, tree))
  const bare = Array.from(text.matchAll(BARE_SECTION), ([cited]) => `${cited}: cite docs/protocol.md#… instead`)
  return [...new Set([...dead.filter((problem) => problem !== undefined), ...bare])]
}

/** The settings that the page of settings does not document. */
export function findUndocumented(settings: readonly string[], page: string): string[] {
  return settings.filter((name) => !page.includes(`\`${name}\``))
}
