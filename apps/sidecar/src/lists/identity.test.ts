import { networks } from '@dvt-relayer/chain/networks.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { expect, it } from 'vitest'
import type { SidecarConfig } from '../config.ts'
import type { KeyShare, Keystore } from '../keystores/keystore.ts'
import { identityOf, meaningOf, openIdentity, withMeaning } from './identity.ts'

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
  ['whose key is not here', { keyShares: [shareOf(263)] }, undefined],
  ['whose id is not found yet', keysOf(undefined), undefined],
  ['whose id is found', keysOf(undefined, 263, 263), 'Operator 263'],
  ['whose key is that of two ids', keysOf(undefined, 263, 280), undefined],
  ['whose id is set', keysOf(280, 263, 280), 'Operator 280'],
])('an SSV operator %s signs as it, or not at all', async (_, keys, as) => {
  const sign = await openIdentity(configOf('https://relayer.example'), () => keys)
  const { authorization } = sign?.({ method: 'GET', path: '/exits', body: undefined }) ?? {}
  expect(authorization?.split(':')[0]).toBe(as)
})

it('of a token, or of nobody, signs no request', async () => {
  for (const config of [configOf('https://token@relayer.example'), configOf('https://relayer.example', 2)])
    expect(await openIdentity(config, () => keysOf(263, 263))).toBeUndefined()
})

it('is a token where there is one, and nothing for several operators or a remote signer', () => {
  expect(identityOf(configOf('https://token@relayer.example'))).toBe('token')
  expect(identityOf(configOf('https://relayer.example'))).toBe('operator_key')
  expect(identityOf(configOf('https://relayer.example', 2))).toBeUndefined()
  expect(identityOf(configOf('https://relayer.example', 1, {}))).toBeUndefined()
})

it('a refusal of it says what to do, and stays what it was', () => {
  const said = 'REQUEST_TIME'
  const refused = new HttpError('HTTP_STATUS', 'relayer.example', 'GET answers with status 401', {
    ...{ status: 401, said, retryAfterMs: 7000 },
  })
  const meaning = "this machine's clock and the relayer's are more than 60 seconds apart: set both by NTP"
  expect(meaningOf(refused)).toBe(meaning)
  const told = withMeaning(refused) as HttpError
  expect([told.code, told.host, told.status, told.said, told.retryAfterMs]).toEqual([
    ...['HTTP_STATUS', 'relayer.example', 401, said, 7000],
  ])
  expect(told.message).toBe(`${refused.message}: ${meaning}`)
})

it.each<[string, unknown]>([
  ['of another word', new HttpError('HTTP_STATUS', 'relayer.example', 'sorry', { status: 401, said: 'toString' })],
  ['without a word', new HttpError('HTTP_STATUS', 'relayer.example', 'sorry', { status: 401 })],
  ['that is none of the relayer', Object.assign(new Error('sorry'), { said: 'REQUEST_TIME' })],
])('an error %s means nothing more', (_, error) => {
  expect(meaningOf(error)).toBeUndefined()
  expect(withMeaning(error)).toBe(error)
})
