import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { afterAll, expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createOracleFetch } from './fetch.ts'

/** Types of PostgreSQL by number. */
const [BYTEA, BIGINT, TEXT, BOOLEAN] = [17, 20, 25, 16]

const counted = countByRound()
afterAll(() => counted.end())

it('makes a long page in pieces, between which others have the event loop', async () => {
  const vault = Buffer.alloc(20, 0xab)
  const columns: [string, number, unknown][] = [
    ['revision', BIGINT, 7],
    ['message_id', BIGINT, 8],
    ['oracle_set_id', BIGINT, 9],
    ['public_key', BYTEA, Buffer.alloc(48, 1)],
    ['validator_index', BIGINT, 5],
    ['epoch', BIGINT, 0],
    ['vault', BYTEA, vault],
    ['public_key_share', BYTEA, Buffer.alloc(48, 2)],
    ['ciphertext', BYTEA, Buffer.alloc(193, 3)],
    ['cid', TEXT, 'cid'],
    ['threshold', BIGINT, 2],
    ['oracles', BIGINT, 3],
    ['position', BIGINT, 1],
    ['block_number', BIGINT, 4],
    ['is_current', BOOLEAN, true],
    ['receipt', BYTEA, Buffer.alloc(32, 6)],
    ['created_at_seconds', BIGINT, 10],
  ]
  const row = Object.fromEntries(columns.map(([name, , value]) => [name, value]))
  let foundIn = 0
  const db = {
    select: () => ({ from: () => ({ where: () => ({ orderBy: async () => [] }) }) }),
    execute: async () => {
      foundIn = counted.rounds()
      return { fields: columns.map(([name, dataTypeID]) => ({ name, dataTypeID })), rows: Array(1000).fill(row) }
    },
  }
  const request = { oracle: new Uint8Array(20), vault: undefined, publicKey: undefined, after: undefined, limit: 1000 }
  const page = await createOracleFetch({ db: db as never }).fetch(request, 0, new AbortController().signal)
  expect(page.items).toHaveLength(1000)
  expect(page.items.at(-1)).toMatchObject({ vault: checksumAddress(vault), is_outdated: false })
  expect(page.cursor).toEqual({ revision: 7, messageId: 8, oracleSetId: 9 })
  expect(counted.rounds() - foundIn).toBeGreaterThanOrEqual(10)
})
