import { setImmediate as turn } from 'node:timers/promises'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import type { RotationRequest } from '@dvt-relayer/chain/stakewise/oracle-client.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { addressOfPublicKey } from '@dvt-relayer/crypto/address.ts'
import type { OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Events } from '../../events.ts'
import { askApprovals, askOutdated, type RotationOracles, readRotationOracles } from './oracles.ts'

const { signal } = new AbortController()
/** Ends when the question does, in vain. */
const until = (within: AbortSignal | undefined) =>
  new Promise<never>((_, reject) => within?.addEventListener('abort', () => reject(within.reason)))

it('are those of the set, in its order, under what its config says', () => {
  const keys = [1, 2, 3].map((byte) => secp256k1.getPublicKey(new Uint8Array(32).fill(byte), false))
  const read = (config: unknown) =>
    readRotationOracles(networks.hoodi, { publicKeys: Buffer.concat(keys), config } as OracleSetRow)
  const oracles = [{ endpoints: [] }, { endpoints: [] }, { endpoints: [] }]
  const found = read({ oracles, validatorsExitRotationBatchLimit: 1, signatureValidityPeriod: 1 })
  expect(found.oracles.map(({ address }) => address)).toEqual(keys.map(addressOfPublicKey))
  expect([found.batchLimit, found.validitySeconds]).toEqual([1, 1])
  for (const config of [{ oracles }, { oracles, signatureValidityPeriod: 0, validatorsExitRotationBatchLimit: 7 }])
    expect(read(config)).toMatchObject({ batchLimit: 100, validitySeconds: undefined })
})

/** Oracles that name these validators; undefined: away, until the question ends. */
const naming = (...outdated: (readonly number[] | undefined)[]) =>
  ({
    oracles: outdated.map((indexes) => ({
      client: {
        findOutdated: async (_vault: unknown, _since: unknown, within?: AbortSignal) =>
          indexes === undefined ? until(within) : { blockNumber: 1, indexes: new Set(indexes) },
      },
    })),
  }) as unknown as RotationOracles
const question = { vault: new Uint8Array(20), sinceBlock: 7, needed: 2 }

it('name what enough of them name, in the order of the indexes', async () => {
  const oracles = naming([30, 4, 5], [200, 4, 30], [30, 6])
  expect(await askOutdated(oracles, question, signal)).toEqual({ answers: 3, indexes: [4, 30] })
  expect(await askOutdated(naming([], []), question, signal)).toEqual({ answers: 2, indexes: [] })
})

it('name nothing where too few of them answer', async () => {
  const few = { ...naming([3]), validitySeconds: 1 }
  expect(await askOutdated(few, question, signal)).toEqual({ answers: 1, indexes: [] })
})

it('that are slow have some seconds more once enough have answered, and no such end before', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const isAnswered = async (asked: Promise<unknown>, ms: number) => {
    const done = vi.fn()
    asked.then(done, done)
    await vi.advanceTimersByTimeAsync(ms)
    return done.mock.calls.length === 1
  }
  const enough = askOutdated(naming([3], [3], undefined), question, signal)
  expect(await isAnswered(enough, 2_999)).toBe(false)
  expect(await isAnswered(enough, 1)).toBe(true)
  expect(await enough).toEqual({ answers: 2, indexes: [3] })
  const stop = new AbortController()
  const few = askOutdated(naming([3], undefined), question, stop.signal)
  expect(await isAnswered(few, 3_000)).toBe(false)
  stop.abort()
  expect(await few).toEqual({ answers: 1, indexes: [] })
})

/** What comes of asking oracles that approve these hashes, fail, or do not answer, and what was told; undefined while they are waited for. */
async function approvals(needed: number, ...says: (string | Error | undefined)[]) {
  const told: [string, number][] = []
  const oracles = says.map((of, place) => ({
    address: new Uint8Array(20).fill(place),
    client: {
      approve: async (_request: unknown, within?: AbortSignal) => {
        if (of instanceof Error) throw of
        return of === undefined ? until(within) : { ipfsHash: of, signature: new Uint8Array(65).fill(place) }
      },
    },
  }))
  const stop = new AbortController()
  const asked = askApprovals(
    { oracles, validitySeconds: 900, batchLimit: 1 } as unknown as RotationOracles,
    {} as RotationRequest,
    needed,
    { rotationApproved: (...of: [string, number]) => told.push(of) } as unknown as Events,
    stop.signal,
  )
  const found = await Promise.race([asked, turn()])
  await turn()
  stop.abort()
  await asked
  return { found: found && { hash: found.ipfsHash, places: found.signatures.map(({ address }) => address[0]) }, told }
}

it('approve together as soon as enough of them approve the same, whoever is slow', async () => {
  expect(await approvals(2, 'a', undefined, 'b', 'a')).toEqual({
    found: { hash: 'a', places: [0, 3] },
    told: [
      ['approved', 2],
      ['other', 1],
    ],
  })
  // No more than are needed.
  expect(await approvals(2, 'a', 'a', 'a')).toEqual({ found: { hash: 'a', places: [0, 1] }, told: [['approved', 2]] })
  expect((await approvals(2, 'a', undefined)).found).toBeUndefined()
})

it('that approve too little are told of, the first and largest group before others', async () => {
  const { found, told } = await approvals(3, 'a', 'b', 'b', 'c', 'c')
  expect(found).toEqual({ hash: 'b', places: [1, 2] })
  expect(told).toEqual([
    ['other', 1],
    ['approved', 2],
    ['other', 2],
  ])
})

it.each([
  ['refused', new HttpError('HTTP_STATUS', 'oracle.example', 'said no')],
  ['away', new HttpError('HTTP_TIMEOUT', 'oracle.example', 'away')],
  ['away', new HttpError('HTTP_UNREACHABLE', 'oracle.example', 'away')],
  ['away', new HttpError('HTTP_ABORTED', 'oracle.example', 'away')],
  ['wrong', new HttpError('HTTP_INVALID', 'oracle.example', 'no JSON')],
  ['wrong', new ChainError('ORACLE_ANSWER_WRONG', 'another deadline')],
  ['away', new TypeError('closed')],
])('that fail are told of as %s: %s', async (outcome, error) => {
  expect(await approvals(1, error)).toEqual({ found: { hash: '', places: [] }, told: [[outcome, 1]] })
})
