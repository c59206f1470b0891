import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseSharesData } from '@dvt-relayer/crypto/ssv/shares.ts'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { parseSsvState, ssvStateToJson } from './checkpoint.ts'
import { emptySsvState, registrationKey, type SsvScope, type SsvState } from './registry.ts'

interface Keyshares {
  shares: { payload: { publicKey: string; operatorIds: number[]; sharesData: string } }[]
}
const [a, b] = ['11', '22'].map((byte) => fromHex(byte.repeat(20))) as [Uint8Array, Uint8Array]
const contract = { address: fromHex('58410bef803ecd7e63b23664c586a6db72daf59c'), block: 1065 }
const scope: SsvScope = {
  contract,
  owners: [a, b],
  operators: { ids: [5, 263], publicKeys: [Uint8Array.of(1), Uint8Array.of(2)] },
}

function makeState(): SsvState {
  const { shares } = readFixtureJson('ssv/cluster-7/keyshares.json') as Keyshares
  const {
    publicKey: key,
    operatorIds,
    sharesData,
  } = shares[0]?.payload ?? { publicKey: '', operatorIds: [], sharesData: '' }
  const data = parseSharesData(fromHex(sharesData), operatorIds)
  if ('fault' in data) throw new Error(data.reason)
  const publicKey = fromHex(key)
  const registration = { owner: a, ownerNonce: 3, publicKey, blockNumber: 1_203_001, logIndex: 17, data }
  return {
    nextBlock: 1_300_001,
    operators: new Map([
      [5, '05'.repeat(32)],
      [Number.MAX_SAFE_INTEGER, 'ff'.repeat(32)],
    ]),
    gaps: new Map([[toHex(a), { blockNumber: 7, logIndex: 1, counted: 2, signed: 4 }]]),
    nonces: new Map([['0x'.concat('11'.repeat(20)), 7]]),
    live: new Map([[registrationKey(a, publicKey), registration]]),
    malformed: { ...emptySsvState(scope).malformed, length: 2, undecodable: 1 },
  }
}

describe('a checkpoint', () => {
  const state = makeState()
  const text = ssvStateToJson(scope, state)

  it('gives the state back, and an empty one', () => {
    expect(parseSsvState(scope, text)).toEqual(state)
    const empty = emptySsvState(scope)
    expect(parseSsvState(scope, ssvStateToJson(scope, empty))).toEqual(empty)
  })

  it('keeps the block that could not be proven yet', () => {
    const doubtful = { ...state, doubtful: 77 }
    expect(parseSsvState(scope, ssvStateToJson(scope, doubtful))).toEqual(doubtful)
    expect(JSON.parse(text)).not.toHaveProperty('doubtful')
  })

  it('is of one scope, whatever its order', () => {
    const { operators } = scope
    const same = {
      contract,
      owners: [b, a],
      operators: { ids: [263, 5], publicKeys: [...(operators?.publicKeys ?? [])].reverse() },
    }
    expect(parseSsvState(same, text)).toEqual(state)
    const ids = (...values: number[]) => ({
      ...scope,
      operators: { ids: values, publicKeys: operators?.publicKeys ?? [] },
    })
    for (const other of [
      { ...scope, owners: [a] },
      { ...scope, owners: [] },
      { ...scope, owners: undefined },
      { ...scope, operators: undefined },
      { ...scope, operators: { ids: [5, 263], publicKeys: [Uint8Array.of(1)] } },
      ids(5),
      ids(5, 263, 280),
      ids(),
      { ...scope, contract: { ...contract, block: 1 } },
      { ...scope, contract: { ...contract, address: a } },
    ])
      expect(parseSsvState(other, text)).toBe('other_scope')
  })

  it('that is broken gives no state', () => {
    for (const broken of ['', '{', 'null', '[]', '{}', text.slice(0, -1), `${text}x`])
      expect(parseSsvState(scope, broken)).toBe('broken')
    const changed = (change: (value: Record<string, unknown>, registration: Record<string, unknown>) => void) => {
      const value = JSON.parse(text) as Record<string, unknown>
      change(value, (value['registrations'] as Record<string, unknown>[])[0] ?? {})
      return parseSsvState(scope, JSON.stringify(value))
    }
    for (const name of Object.keys(JSON.parse(text) as object))
      for (const wrong of [undefined, null, 'x', -1, 1.5, [5], { x: 'x' }]) {
        if (name === 'scope' && typeof wrong === 'string') continue
        expect(
          changed((value) => Object.assign(value, { [name]: wrong })),
          `${name} ${JSON.stringify(wrong)}`,
        ).toBe('broken')
      }
    const fields = (JSON.parse(text) as { registrations: object[] }).registrations[0] ?? {}
    for (const name of Object.keys(fields))
      for (const wrong of [undefined, null, -1, 'x', '0x12', [1, 2]])
        expect(
          changed((_, registration) => Object.assign(registration, { [name]: wrong })),
          name,
        ).toBe('broken')
    expect(changed((_, registration) => Object.assign(registration, { operator_ids: [1, 2, 3, 4] }))).toBe('broken')
  })
})
