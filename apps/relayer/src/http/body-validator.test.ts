import type { RouteContract } from '@dvt-relayer/api/contract.ts'
import { routes } from '@dvt-relayer/api/routes.ts'
import { ExitSignatureRequest, RegisterRequest } from '@dvt-relayer/api/schemas.ts'
import { faultWords } from '@dvt-relayer/common/expected.ts'
import type { TSchema } from 'typebox'
import { describe, expect, it } from 'vitest'
import { compileBody, compilePart } from './body-validator.ts'

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

it('refuses what is wrong only far down', () => {
  const shares = [...Array.from({ length: 5000 }, () => good), 0]
  expect(validate({ share_index: 1, shares })).toMatchObject({ error: [{ instancePath: '' }] })
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
