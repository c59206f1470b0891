import { Type } from 'typebox'
import { expect, it } from 'vitest'
import { textLike } from '../expected.ts'
import { readJson } from '../http/answer.ts'
import { createFaultFinder } from './fault.ts'

const Item = Type.Object({
  key: textLike('^[0-9a-f]+$', 'hex'),
  hints: Type.Union([Type.Array(Type.Integer()), Type.Null()]),
})
const Answer = Type.Object({ kind: Type.Union([Type.Literal('a'), Type.Literal('b')]), items: Type.Array(Item) })
const find = createFaultFinder(Answer)
const good = { key: '00', hints: [1, 2] }

it('names the place and what would be right there', () => {
  expect(find({ kind: 'c', items: [] })).toEqual({ instancePath: '/kind', message: 'must be a or b' })
  expect(find({ kind: 'a', items: [good, { ...good, key: 'x' }] })).toEqual({
    instancePath: '/items/1/key',
    message: 'must be hex',
  })
  expect(find({ kind: 'a', items: [{ ...good, hints: [1, 'x'] }] })).toEqual({
    instancePath: '/items/0/hints/1',
    message: 'must be integer',
  })
  expect(find([])).toEqual({ instancePath: '', message: 'must be object' })
})

it('says so where it finds none', () => {
  expect(find({ kind: 'a', items: [good] })).toEqual({ instancePath: '', message: 'is not valid' })
})

it('looks at nothing behind the fault, and at nothing before it but by the compiled check', () => {
  let looks = 0
  const watched = new Proxy(good, {
    get(item, name, receiver) {
      if (name === 'hints') looks++
      return Reflect.get(item, name, receiver)
    },
  })
  const untouched = new Proxy(good, { get: () => expect.unreachable('looked at') })
  const items = [...Array(500).fill(watched), { ...good, hints: 1 }, untouched]
  expect(find({ kind: 'a', items })).toMatchObject({ instancePath: '/items/500/hints' })
  // Once each, or twice where it may be null.
  expect(looks).toBeLessThanOrEqual(1000)
  expect(find({ kind: 'c', items: [untouched] })).toMatchObject({ instancePath: '/kind' })
})

it('is what is said of an answer of another machine', async () => {
  const bytes = Buffer.from(JSON.stringify({ kind: 'a', items: [...Array(20_000).fill(good), { ...good, key: 1 }] }))
  await expect(
    readJson({ bytes, maxValues: 200_000, host: 'node', status: 200, headers: new Headers() }, Answer),
  ).rejects.toThrow(
    expect.objectContaining({
      code: 'HTTP_INVALID',
      message: 'the answer of node is not what was expected: /items/20000/key must be string',
    }),
  )
})
