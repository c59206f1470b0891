/**
 * The OpenAPI document as a page (`GET /docs`), for people: one file of text and style. It loads nothing and runs no script, and its
 * Content-Security-Policy says so.
 */

import { createHash } from 'node:crypto'

/** What is read of a JSON schema. */
interface Schema {
  type?: string
  const?: unknown
  anyOf?: readonly Schema[]
  items?: Schema
  properties?: Readonly<Record<string, Schema>>
  additionalProperties?: Schema | boolean
  patternProperties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  description?: string
  pattern?: string
}

type Content = Readonly<Record<string, { schema?: Schema }>>

interface Operation {
  summary?: string
  parameters?: readonly { in: string; name: string; required?: boolean; description?: string; schema?: Schema }[]
  requestBody?: { content?: Content }
  responses?: Readonly<Record<string, { content?: Content }>>
}

/** What is read of an OpenAPI document. */
interface OpenApi {
  info?: { title?: string; version?: string; description?: string }
  paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h2 { font: 600 1.1rem/1.4 ui-monospace, monospace; margin: 2rem 0 0; border-top: 1px solid #ccc; padding-top: 1rem }
p { margin: .3rem 0 }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; font-size: .85rem }
summary { cursor: pointer }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #262626 } }
`

/** Nothing but the page's own style, by its hash. */
export const DOCS_CSP = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** Renders a document that the relayer has made itself. */
export function renderDocs(document: OpenApi): string {
  const { info = {}, paths = {} } = document
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => renderOperation(path, method, operation)),
  )
  const title = escaped(`${info.title ?? 'API'} ${info.version ?? ''}`)
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head>
<body>
<h1>${title}</h1>
<p>${escaped(info.description ?? '')} For programs: <a href="openapi.json">openapi.json</a>.</p>
${operations.join('\n')}
</body>
</html>
`
}

function renderOperation(
  path: string,
  method: string,
  { summary, parameters, requestBody, responses }: Operation,
): string {
  const blocks = [
    ...(parameters === undefined ? [] : [block('Parameters', parameters.map(lineOf).join('\n'))]),
    ...schemasOf(requestBody?.content).map((schema) => block('Body', textOf(schema))),
    ...Object.entries(responses ?? {}).flatMap(([status, { content }]) =>
      schemasOf(content).map((schema) => block(`Answer ${status}`, textOf(schema))),
    ),
  ]
  return `<h2>${escaped(`${method.toUpperCase()} ${path}`)}</h2>\n<p>${escaped(summary ?? '')}</p>\n${blocks.join('\n')}`
}

const block = (title: string, text: string) =>
  `<details><summary>${escaped(title)}</summary><pre>${escaped(text)}</pre></details>`

const schemasOf = (content: Content | undefined): Schema[] =>
  Object.values(content ?? {}).flatMap(({ schema }) => (schema === undefined ? [] : [schema]))

function lineOf({ in: place, name, required, description, schema }: NonNullable<Operation['parameters']>[number]) {
  const said = description ?? schema?.description
  return `${name}${required === true ? '' : '?'} (${place}): ${textOf(schema ?? {})}${said === undefined ? '' : `   ${said}`}`
}

/** A schema as text, much as TypeScript writes types. */
function textOf(schema: Schema, indent = ''): string {
  const { type, const: only, anyOf, items, properties } = schema
  if (only !== undefined) return JSON.stringify(only)
  if (anyOf !== undefined) return anyOf.map((one) => textOf(one, indent)).join(' | ')
  if (items !== undefined) return `list of ${textOf(items, indent)}`
  if (properties !== undefined) {
    const inner = `${indent}  `
    const fields = Object.entries(properties).map(([name, field]) => {
      const mark = schema.required?.includes(name) === true ? '' : '?'
      return `${inner}${name}${mark}: ${textOf(field, inner)}${field.description === undefined ? '' : `   ${field.description}`}`
    })
    return `{\n${fields.join('\n')}\n${indent}}`
  }
  const [values] = [...Object.values(schema.patternProperties ?? {}), schema.additionalProperties]
  if (typeof values === 'object') return `{ any name: ${textOf(values, indent)} }`
  return `${type ?? 'anything'}${schema.pattern === undefined ? '' : ` matching ${schema.pattern}`}`
}
