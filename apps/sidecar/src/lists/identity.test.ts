import { networks } from '@dvt-relayer/chain/networks.ts'
import { expect, it } from 'vitest'
import type { SidecarConfig } from '../config.ts'
import type { KeyShare, Keystore } from '../keystores/keystore.ts'
import { identityOf, openIdentity } from './identity.ts'

/** An SSV operator, or several, at a relayer. */
const configOf = (url: string, operators = 1, remoteSigner?: object) =>
  ({
    network: networks.hoodi,
    relayer: { endpoint: new URL(url), enrKeyFile: undefined },
    ssv: { operators: Array(operators).fill({}) },
    remoteSigner,
  }) as unknown as SidecarConfig

const shareOf = (shareIndex: number) => ({ shareIndex }) as KeyShare
const keysOf = (id: number | undefined, ...shareIndexes: number[]): Pick<Keystore, 'keyShares' | 'operatorKeys'> => ({
  keyShares: shareIndexes.map(shareOf),
  operatorKeys: [{ id, sign: () => new Uint8Array(256) }],
})

it.each<[string, ReturnType<typeof keysOf> | undefined, string | undefined]>([
  ['before its keys are there', undefined, undefined],
  ['whose id is not found yet', keysOf(undefined), undefined],
  ['whose id is found', keysOf(undefined, 263, 263), 'Operator 263'],
  ['whose key is that of two ids', keysOf(undefined, 263, 280), undefined],
  ['whose id is set', keysOf(280, 263, 280), 'Operator 280'],
])('an SSV operator %s signs as it, or not at all', async (_, keys, as) => {
  const sign = await openIdentity(configOf('https://relayer.example'), () => keys)
  const { authorization } = sign?.({ method: 'GET', path: '/exits', body: undefined }) ?? {}
  expect(authorization?.split(':')[0]).toBe(as)
})

it('is a token where there is one, and nothing for several operators or a remote signer', () => {
  expect(identityOf(configOf('https://token@relayer.example'))).toBe('token')
  expect(identityOf(configOf('https://relayer.example'))).toBe('operator_key')
  expect(identityOf(configOf('https://relayer.example', 2))).toBeUndefined()
  expect(identityOf(configOf('https://relayer.example', 1, {}))).toBeUndefined()
})
