import { emptySsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { expect, it } from 'vitest'
import { certainNonces, ownerOf } from './ssv-clusters.ts'

const OWNER = `0x${'0a'.repeat(20)}`
const gap = { blockNumber: 1, logIndex: 0, counted: 0, signed: 1 }

it('registrations of an owner are all known up to what was counted, and none where some may be missing', () => {
  const empty = emptySsvState({ contract: { address: new Uint8Array(20), block: 1 } })
  const state = { ...empty, nonces: new Map([[OWNER, 4]]) }
  expect(certainNonces(undefined, OWNER)).toBe(0)
  expect(certainNonces(empty, OWNER)).toBe(0)
  expect(certainNonces(state, OWNER)).toBe(4)
  expect(certainNonces({ ...state, gaps: new Map([['0xother', gap]]) }, OWNER)).toBe(4)
  expect(certainNonces({ ...state, gaps: new Map([[OWNER, gap]]) }, OWNER)).toBe(0)
})

it('the owner of a cluster stands first in its name', () => {
  expect(ownerOf(`${OWNER}:1,2,3`)).toBe(OWNER)
})
