import { expect, it } from 'vitest'
import { Bytes } from './json-rpc.ts'

it('has one schema for bytes of a length, which is compiled once and not for every answer', () => {
  expect(Bytes()).toBe(Bytes())
  expect(Bytes(32)).toBe(Bytes(32))
  expect(new Set([Bytes(), Bytes(32), Bytes(20)]).size).toBe(3)
})
