import { networks } from '@dvt-relayer/chain/networks.ts'
import { describe, expect, it } from 'vitest'
import { faultOf } from '../../../../../test/support/keys/signer-fault.ts'
import type { SignRequest } from '../keystore.ts'
import { askPublicKeys, askSignature, askWhetherUp, signBody } from './api.ts'
import type { SignerHttp } from './signer-http.ts'

const signal = new AbortController().signal
const KEY = `0x${'ab'.repeat(48)}`
const SIGNATURE = `0x${'cd'.repeat(96)}`

/** A signer that answers this to everything. */
const answering = (status: number, text = '') =>
  ({ host: 'signer.example', ask: async () => ({ status, text }) }) as unknown as SignerHttp

/** What is asked of a signer, which answers this. */
async function askedBy(question: (http: SignerHttp) => Promise<unknown>, text = ''): Promise<object[]> {
  const asked: object[] = []
  const ask = async (request: object) => {
    asked.push(request)
    return { status: 200, text }
  }
  await question({ title: 'remote signer', ask } as unknown as SignerHttp)
  return asked
}

describe('a request', () => {
  it('reads no more of an answer than what it is about takes', async () => {
    expect(await askedBy((http) => askPublicKeys(http, signal), '[]')).toEqual([
      { method: 'GET', path: '/api/v1/eth2/publicKeys', maxBytes: 16_777_216, signal },
    ])
    expect(await askedBy((http) => askSignature(http, KEY, '{}', signal), SIGNATURE)).toEqual([
      { method: 'POST', path: `/api/v1/eth2/sign/${KEY}`, body: '{}', maxBytes: 4096, signal },
    ])
    expect(await askedBy((http) => askWhetherUp(http, signal))).toEqual([
      { method: 'GET', path: '/upcheck', maxBytes: 4096, signal },
    ])
  })

  const keyShare = { validatorPublicKey: KEY, shareIndex: 1 }
  const signingRoot = new Uint8Array(32).fill(0xee)

  it.each<[string, SignRequest['message'], object]>([
    [
      'an exit',
      { kind: 'exit', epoch: 194_048, validatorIndex: 7 },
      {
        type: 'VOLUNTARY_EXIT',
        fork_info: {
          fork: { previous_version: '0x03000000', current_version: '0x03000000', epoch: '194048' },
          genesis_validators_root: '0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95',
        },
        voluntary_exit: { epoch: '194048', validator_index: '7' },
      },
    ],
    [
      'a deposit',
      { kind: 'deposit', withdrawalCredentials: new Uint8Array(32).fill(1), amountGwei: 32_000_000_000n },
      {
        type: 'DEPOSIT',
        deposit: {
          pubkey: KEY,
          withdrawal_credentials: `0x${'01'.repeat(32)}`,
          amount: '32000000000',
          genesis_fork_version: '0x00000000',
        },
      },
    ],
  ])('says what is signed of %s', (_, message, expected) => {
    const body = signBody(networks.mainnet, { signingRoot, message, keyShare })
    expect(JSON.parse(body)).toEqual({ ...expected, signingRoot: `0x${'ee'.repeat(32)}` })
  })
})

describe('a status', () => {
  const faults: [number, string | undefined][] = [
    [199, 'status'],
    [200, undefined],
    [202, undefined],
    [299, undefined],
    [300, 'status'],
    [400, 'bad_request'],
    [401, 'unauthorized'],
    [403, 'unauthorized'],
    [404, 'unknown_key'],
    [411, 'status'],
    [412, 'refused'],
    [413, 'status'],
    [429, 'status'],
    [499, 'status'],
    [500, 'server_error'],
    [503, 'server_error'],
  ]

  it.each(faults)('%i means %s, whatever the question is', async (status, fault) => {
    expect(await faultOf(askSignature(answering(status, SIGNATURE), KEY, '{}', signal))).toBe(fault)
    expect(await faultOf(askPublicKeys(answering(status, '[]'), signal))).toBe(fault)
    // A signer that does not know the path is up all the same.
    expect(await faultOf(askWhetherUp(answering(status), signal))).toBe(status === 404 ? undefined : fault)
  })
})

describe('an answer', () => {
  it.each([
    SIGNATURE,
    SIGNATURE.slice(2),
    `${SIGNATURE}\n`,
    JSON.stringify(SIGNATURE),
    JSON.stringify({ signature: SIGNATURE }),
  ])('is a signature, bare or in JSON: %s', async (text) => {
    expect(await askSignature(answering(200, text), KEY, '{}', signal)).toEqual(new Uint8Array(96).fill(0xcd))
  })

  it.each(['', '{}', 'null', '0x', SIGNATURE.slice(0, -2), `${SIGNATURE}00`, JSON.stringify({ signature: 1 })])(
    'is no signature, and is not repeated: %j',
    async (text) => {
      const question = askSignature(answering(200, text), KEY, '{}', signal)
      await expect(question).rejects.toMatchObject({ fault: 'invalid', message: expect.not.stringContaining('cdcd') })
    },
  )

  it('is no signature where it holds more values than any signer writes', async () => {
    const answer = (values: number) =>
      answering(200, JSON.stringify({ signature: SIGNATURE, more: Array(values - 3).fill(0) }))
    expect(await faultOf(askSignature(answer(100), KEY, '{}', signal))).toBeUndefined()
    expect(await faultOf(askSignature(answer(101), KEY, '{}', signal))).toBe('invalid')
  })

  it('is no list of keys where it holds more than 200,000 values', async () => {
    const answer = (values: number) => answering(200, JSON.stringify(Array(values - 1).fill(0)))
    expect(await faultOf(askPublicKeys(answer(200_000), signal))).toBeUndefined()
    expect(await faultOf(askPublicKeys(answer(200_001), signal))).toBe('invalid')
  })

  it('is a list of keys without what is none', async () => {
    const text = JSON.stringify([KEY.toUpperCase().replace('0X', '0x'), KEY, 1, null, '0x12', {}])
    expect(await askPublicKeys(answering(200, text), signal)).toEqual(new Set([KEY]))
    for (const other of ['', '{}', 'null', '"x"'])
      expect(await faultOf(askPublicKeys(answering(200, other), signal))).toBe('invalid')
  })
})
