import { networks } from '@dvt-relayer/chain/networks.ts'
import { expect, it } from 'vitest'
import { findUnused } from './unused.ts'

const files = { keyFile: 'k', passwordFile: 'p' }
const BARE: Parameters<typeof findUnused>[0] = {
  ...{ manager: undefined, vaults: undefined, network: networks.hoodi, role: 'all' },
  rotation: { enabled: false, wallet: undefined, maxFeeGwei: 1 },
  ssv: { owners: [], keysharesFiles: [], proofsFiles: [] },
}

it('names the setting of each part that is not configured', () => {
  expect(findUnused(BARE, false)).toEqual({
    manager: {
      state: 'not configured',
      why: 'VALIDATORS_MANAGER_KEY_FILE is not set: nothing is signed for vaults',
    },
    registry: { state: 'not needed yet', why: 'no POST /register has asked for the deposits on chain' },
    rotation: { state: 'not configured', why: 'ROTATION is off' },
    ssv: { state: 'not configured', why: 'SSV_OWNERS is not set' },
  })
})

it('says nothing of what is configured, or begun', () => {
  const all = {
    ...BARE,
    ...{ manager: files, vaults: [new Uint8Array(20)], rotation: { ...BARE.rotation, enabled: true } },
    ssv: { ...BARE.ssv, owners: [new Uint8Array(20)] },
  }
  expect(findUnused(all, true)).toEqual({})
  expect(findUnused(all, undefined)).toEqual({})
  expect(findUnused(all, false)).toEqual({})
  for (const isBegun of [true, undefined]) expect(findUnused(BARE, isBegun)).not.toHaveProperty('registry')
  expect(Object.keys(findUnused({ ...all, vaults: undefined }, true))).toEqual(['manager'])
  const elsewhere = { ...all, network: { ...networks.hoodi, name: 'devnet', ssvNetwork: undefined } }
  expect(findUnused(elsewhere, true)).toEqual({ ssv: { state: 'not configured', why: 'devnet has no SSV contract' } })
})

it('leaves to workers what they do, with settings of their own', () => {
  const { rotation, ssv } = findUnused({ ...BARE, role: 'api' }, true)
  expect([rotation?.state, ssv?.state]).toEqual(['done by workers', 'done by workers'])
})
