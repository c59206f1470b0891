import type { RouteContract } from '@dvt-relayer/api/contract.ts'
import { routes } from '@dvt-relayer/api/routes.ts'
import {
  ExitSignatureRequest,
  PartialExitsRequest,
  RegisterRequest,
  SignaturesRequest,
} from '@dvt-relayer/api/schemas.ts'
import { faultWords } from '@dvt-relayer/common/expected.ts'
import type { TSchema } from 'typebox'
import { Check, Errors } from 'typebox/value'
import { describe, expect, it } from 'vitest'
import { compileBody, compilePart, compilePieces } from './body-validator.ts'

const validate = compileBody(ExitSignatureRequest)
const good = { public_key: '00', exit_signature: '00' }

it('takes what fits and names the place of a fault', () => {
  const body = { share_index: 1, shares: [good], more: {} }
  expect(validate(body)).toEqual({ value: body })
  expect(validate({ share_index: 1, shares: [good, { ...good, public_key: 1 }] })).toMatchObject({
    error: [{ instancePath: '/shares/1/public_key', message: 'must be string' }],
  })
  for (const other of [null, [], 1, 'x'])
    expect(validate(other)).toMatchObject({ error: [{ message: 'must be object' }] })
})

it('says which words are right where only a few are', () => {
  const body = { vault: '00'.repeat(20), validators_start_index: 1, amounts: [1] }
  for (const type of ['0x03', '', null, 1])
    expect(compileBody(RegisterRequest)({ ...body, validator_type: type })).toMatchObject({
      error: [{ instancePath: '/validator_type', message: 'must be 0x01 or 0x02' }],
    })
})

it('looks no further than the first fault, however long a list is', () => {
  const shares: unknown[] = Array.from({ length: 5000 }, () => 0)
  Object.defineProperty(shares, 4999, {
    get: () => {
      throw new Error('looked at')
    },
  })
  expect(validate({ share_index: 1, shares })).toMatchObject({ error: [{ instancePath: '/shares/0' }] })
})

it('names what is wrong only far down', () => {
  const shares = [...Array.from({ length: 5000 }, () => good), 0]
  expect(validate({ share_index: 1, shares })).toMatchObject({ error: [{ instancePath: '/shares/5000' }] })
})

describe('a body that came in pieces', () => {
  const pieces = compilePieces(SignaturesRequest)
  const item = { ...good, deposit_signature: '00' }

  it('is checked as they come, and each fault named with its place in all of it', () => {
    expect(pieces.faultOf('shares', [item, item], 0)).toBeUndefined()
    expect(pieces.faultOf('shares', [item, { ...item, public_key: 1 }, 0], 4000)).toMatchObject({
      instancePath: '/shares/4001/public_key',
      message: 'must be string',
    })
    // Nobody reads what no contract names.
    expect(pieces.faultOf('others', [0], 0)).toBeUndefined()
    const lists = compilePieces(PartialExitsRequest)
    expect(lists.faultOf('partial_exits', [0], 7)).toMatchObject({ instancePath: '/partial_exits/7' })
  })

  it('is not checked once more but for what is around its lists', () => {
    const check = compileBody(SignaturesRequest)
    const looked = new Proxy(item, { get: () => expect.unreachable('looked at') })
    const came = (body: object) => {
      pieces.checked(body)
      return check(body)
    }
    const body = { share_index: 1, shares: [looked] }
    expect(came(body)).toEqual({ value: body })
    expect(came({ share_index: 0, shares: [looked] })).toMatchObject({
      error: [{ instancePath: '/share_index', message: 'must be >= 1' }],
    })
    expect(came({ share_index: 1 })).toMatchObject({ error: [{ message: expect.stringContaining('shares') }] })
    expect(came({ share_index: 1, shares: 'x' })).toMatchObject({ error: [{ instancePath: '/shares' }] })
    // How long a list may be is said of all of it.
    const long = {
      partial_exits: Array.from({ length: 65_537 }, () => looked),
      share_idx: 1,
      signature: '00'.repeat(65),
    }
    pieces.checked(long)
    expect(compileBody(PartialExitsRequest)(long)).toMatchObject({ error: [{ instancePath: '/partial_exits' }] })
    const none = { ...long, partial_exits: null }
    pieces.checked(none)
    expect(compileBody(PartialExitsRequest)(none)).toEqual({ value: none })
  })
})

describe('a body of many items with lists in them', () => {
  const share = {
    public_key: '00',
    exit_signature: '00',
    deposit_signature: '00',
    public_key_shares: Array.from({ length: 130 }, () => ({ share_index: 1, public_key_share: '00' })),
  }
  /** A thousand items, and how often a list in one of them was looked at. */
  function manyShares() {
    let looks = 0
    const watched = new Proxy(share, {
      get(item, name, receiver) {
        if (name === 'public_key_shares') looks++
        return Reflect.get(item, name, receiver)
      },
    })
    return { shares: Array.from({ length: 1000 }, (): object => watched), looks: () => looks }
  }
  const check = compileBody(SignaturesRequest)

  it('is not looked at where the fault stands before them', () => {
    const { shares, looks } = manyShares()
    expect(check({ share_index: 0, shares })).toMatchObject({
      error: [{ instancePath: '/share_index', message: 'must be >= 1' }],
    })
    expect(looks()).toBe(0)
  })

  it('is looked at up to the item with the fault, by compiled checks alone', () => {
    const { shares, looks } = manyShares()
    expect(check({ share_index: 1, shares })).toHaveProperty('value')
    const once = looks()
    const own = Object.assign([...share.public_key_shares, 5], { forEach: () => expect.unreachable('walked') })
    shares[500] = { ...share, public_key_shares: own }
    expect(check({ share_index: 1, shares })).toMatchObject({
      error: [{ instancePath: '/shares/500/public_key_shares/130', message: 'must be object' }],
    })
    // Half of them, by the check of all and by that of each.
    expect(looks() - once).toBe(once)
  })
})

describe('what is said of a fault', () => {
  const wrong: unknown[] = [null, -1, 0.5, 'x', [], [0], [{}], ['x', null], {}, Array.from({ length: 300 }, () => 0)]
  /** Bodies of requests, and answers, which callers check. */
  const schemas = (Object.entries(routes) as [string, RouteContract][]).flatMap(([name, { body, response }]) => [
    ...(body === undefined ? [] : [[`body of ${name}`, body] as const]),
    // Some are never given.
    ...('not' in response ? [] : [[`answer of ${name}`, response] as const]),
  ])
  /** A value that fits. */
  function right(schema: TSchema): unknown {
    const { properties, items, anyOf, pattern } = schema as {
      properties?: Record<string, TSchema>
      items?: TSchema
      anyOf?: TSchema[]
      pattern?: string
    }
    if (properties !== undefined)
      return Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, right(property)]))
    if (items !== undefined) return [right(items)]
    if (anyOf?.[0] !== undefined) return right(anyOf[0])
    const digits = '0'.repeat(Number(/\{(\d+)\}/.exec(pattern ?? '')?.[1] ?? 1))
    const { const: word, enum: words, minimum } = schema as { const?: unknown; enum?: unknown[]; minimum?: number }
    const tried = [
      word,
      words?.[0],
      minimum,
      digits,
      `0x${digits}`,
      `0x${'0'.repeat(40)}`,
      '1',
      'a',
      '',
      0,
      false,
      null,
      {},
    ]
    const found = tried.find((value) => value !== undefined && Check(schema, value))
    expect(found, JSON.stringify(schema)).toBeDefined()
    return found
  }
  /** Of a schema: values with one fault, or a few, at each depth. */
  function variants(schema: TSchema): unknown[] {
    const { properties, items, anyOf } = schema as { properties?: object; items?: TSchema; anyOf?: TSchema[] }
    if (anyOf !== undefined) return [...wrong, ...anyOf.flatMap(variants)]
    if (items !== undefined) return [...wrong, ...variants(items).map((item) => [item])]
    if (properties === undefined) return wrong
    const names = Object.entries(properties) as [string, TSchema][]
    return [
      ...wrong,
      ...names.flatMap(([name, property]) =>
        variants(property).map((value) => ({ ...(right(schema) as object), [name]: value })),
      ),
    ]
  }

  it.each(schemas)('is what the library says first: %s', (_name, schema) => {
    const check = compileBody(schema)
    expect(check(right(schema))).toHaveProperty('value')
    for (const value of variants(schema)) {
      const [first, second] = Errors(schema, value)
      if (first === undefined) {
        expect(check(value)).toEqual({ value })
        continue
      }
      const { instancePath } = first
      // Of a few words the right ones are named.
      const isWord = [first, second].some((fault) => fault?.keyword === 'const')
      const message = isWord
        ? expect.stringMatching(/^must be [a-z0-9_]+( or [a-z0-9_]+)*$/)
        : faultWords(schema, first)
      expect(check(value), JSON.stringify(value)).toMatchObject({ error: [{ instancePath, message }] })
    }
  })
})

/** The paths of all schemas with a pattern, as the library's faults name them. */
function patternsIn(schema: unknown, path = '#'): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own = typeof (schema as { pattern?: unknown }).pattern === 'string' ? [path] : []
  return [...own, ...Object.entries(schema).flatMap(([name, inner]) => patternsIn(inner, `${path}/${name}`))]
}

describe('a form that text must have', () => {
  const found = (Object.entries(routes) as [string, RouteContract][]).flatMap(([name, route]) =>
    (['params', 'query', 'body', 'response'] as const).flatMap((part) => {
      const schema = route[part]
      return schema === undefined
        ? []
        : patternsIn(schema).map((path) => [`${name} ${part}${path.slice(1)}`, schema, path] as const)
    }),
  )

  it.each(found)('is said in words, and not as a regular expression: %s', (_name, schema, schemaPath) => {
    const words = faultWords(schema, { keyword: 'pattern', schemaPath, message: 'must match pattern "^…$"' })
    expect(words).toMatch(/^must be (?!.*[\^$\\{}[\]*]).{8,}/)
  })

  it('stands in what the checks of bodies, of paths and of queries say', () => {
    const body = { vault: '0x12', validators_start_index: 1, amounts: [1], validator_type: '0x01' }
    expect(compileBody(RegisterRequest)(body)).toMatchObject({
      error: [{ instancePath: '/vault', message: 'must be 0x and 40 hex digits (0x may be left out)' }],
    })
    const check = (schema: TSchema, httpPart: 'params' | 'querystring') =>
      compilePart({ schema, httpPart, method: 'GET', url: '/' } as Parameters<typeof compilePart>[0])
    expect(check(routes.getExplanation.params, 'params')({ public_key: '0x12' })).toMatchObject({
      error: [{ instancePath: '/public_key', message: 'must be 0x and 96 hex digits (0x may be left out)' }],
    })
    expect(check(routes.getExits.query, 'querystring')({ wait: '61' })).toMatchObject({
      error: [{ instancePath: '/wait', message: 'must be a whole number from 0 to 60' }],
    })
  })
})
