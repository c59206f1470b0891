import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { findLeaks } from './secrets.ts'

const log = (planted: string) =>
  new Map([
    ['relayer.log', `2025-01-01T00:00:00Z INFO  relayer started  port=8000\nDEBUG something  value=${planted} more\n`],
  ])

/** 48 bytes: neither base64 nor hex of it ends on a round place when it stands in something longer. */
const bytes = randomBytes(48)
const hex = bytes.toString('hex')
const inside = Buffer.concat([randomBytes(7), bytes, randomBytes(5)])

const spellings: [name: string, text: string][] = [
  ['lower-case hex', hex],
  ['hex with 0x', `0x${hex}`],
  ['upper-case hex', `0X${hex.toUpperCase()}`],
  ['hex inside longer hex', inside.toString('hex')],
  ['hex with its end cut off', `0x${hex.slice(0, 60)}...`],
  ['hex with its start cut off', `...${hex.slice(-40)}`],
  ['base64', bytes.toString('base64')],
  ['base64url', bytes.toString('base64url')],
  ['base64 inside something longer', inside.toString('base64')],
  ['base64 inside something longer, one byte on', inside.subarray(1).toString('base64')],
  ['base64 inside something longer, two bytes on', inside.subarray(2).toString('base64url')],
  ['decimal', BigInt(`0x${hex}`).toString()],
  ['what console.log prints of it', inspect(bytes)],
  ['what console.log prints of a Uint8Array', inspect(new Uint8Array(bytes))],
  ['JSON of a Uint8Array', JSON.stringify(new Uint8Array(bytes))],
  ['JSON of a Buffer', JSON.stringify(bytes)],
]

describe('the search finds a planted secret', () => {
  test.each(spellings)('as %s', (_, text) => {
    expect(findLeaks(log(text), [{ kind: 'key share', value: new Uint8Array(bytes) }])).not.toEqual([])
  })
})

describe('the search finds a planted password', () => {
  const password = randomBytes(24).toString('base64url')
  test.each([
    ['as it is', password],
    ['in a URL', `postgres://postgres:${password}@127.0.0.1:5432/postgres`],
    ['as hex', Buffer.from(password).toString('hex').toUpperCase()],
    ['as base64', Buffer.from(password).toString('base64')],
    ['in the header of HTTP Basic', `Basic ${Buffer.from(`postgres:${password}`).toString('base64')}`],
  ])('%s', (_, text) => {
    const [leak] = findLeaks(log(text), [{ kind: 'database password', value: password }])
    expect(leak).toMatchObject({ kind: 'database password', file: 'relayer.log', line: 2 })
  })
})

test('other bytes, and what a log holds by right, are no leak', () => {
  const other = randomBytes(48)
  const text = [other.toString('hex'), other.toString('base64'), inspect(other), JSON.stringify([...other])].join(' ')
  const secrets = Array.from({ length: 50 }, () => ({ kind: 'key share', value: new Uint8Array(randomBytes(48)) }))
  expect(findLeaks(log(text), secrets)).toEqual([])
})

test('a leak does not repeat the secret', () => {
  const leaks = findLeaks(log(hex), [{ kind: 'key share', value: new Uint8Array(bytes) }])
  expect(JSON.stringify(leaks)).not.toContain(hex.slice(0, 8))
})
