/** Every single-field mutation of a body, and what an answer that refuses one looks like. */

import { expect } from 'vitest'
import type { Answer } from './world/world.ts'

const WRONG_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  1e300,
  '',
  '0x',
  'text',
  [],
  {},
  [[]],
  [null],
  [1],
  [''],
]

/** A body with one value in it, at whatever depth, replaced by a wrong one, or left out. */
export interface Mutation {
  /** Such as `body.amounts[0] = null`. */
  name: string
  body: unknown
}

/** All of them; `allowed` says which replacements are right by chance, by their path and value (undefined: left out). */
export function mutations(body: unknown, allowed: (path: string, value: unknown) => boolean = () => false): Mutation[] {
  const found: Mutation[] = []
  const walk = (node: unknown, path: string, rebuild: (value: unknown) => unknown) => {
    for (const value of WRONG_VALUES)
      if (!allowed(path, value)) found.push({ name: `${path} = ${JSON.stringify(value)}`, body: rebuild(value) })
    if (Array.isArray(node)) {
      for (const [position, item] of node.entries())
        walk(item, `${path}[${position}]`, (value) => rebuild(node.with(position, value)))
    } else if (typeof node === 'object' && node !== null) {
      for (const [name, item] of Object.entries(node)) {
        const { [name]: _, ...rest } = node as Record<string, unknown>
        if (!allowed(`${path}.${name}`, undefined))
          found.push({ name: `${path}.${name} left out`, body: rebuild(rest) })
        walk(item, `${path}.${name}`, (value) => rebuild({ ...node, [name]: value }))
      }
    }
  }
  walk(body, 'body', (value) => value)
  return found
}

/** A 4xx with code, message and request id, and nothing that is not documented. */
export function expectRefusal(answer: Pick<Answer, 'status' | 'json'>): void {
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer.status).toBeLessThan(500)
  expect(answer.json).toMatchObject({
    code: expect.any(String),
    // In words: a regular expression is for programs.
    message: expect.stringMatching(/^(?!.* pattern )./),
    request_id: expect.stringMatching(/./),
  })
  const known = ['code', 'message', 'request_id', 'failures']
  expect(Object.keys(answer.json as object).filter((name) => !known.includes(name))).toEqual([])
}
