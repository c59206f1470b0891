import { describe, expect, it } from 'vitest'
import { faultOf } from '../../../../../test/support/keys/signer-fault.ts'
import type { SignerAnswer, SignerHttp } from '../remote/signer-http.ts'
import { askExit, askPublicKeys, askWhetherUp } from './api.ts'

const signal = new AbortController().signal
const [OWN, REMOTE] = ['ab', 'cd'].map((byte) => `0x${byte.repeat(48)}`) as [string, string]
const SIGNATURE = `0x${'ee'.repeat(96)}`
const EXIT = { kind: 'exit', epoch: 194_048, validatorIndex: 7 } as const

/** A validator client that answers each path so, and what it was asked. */
function clientOf(answers: Record<string, [number, unknown]>) {
  const asked: object[] = []
  const ask = async (request: { path: string }): Promise<SignerAnswer> => {
    asked.push(request)
    const [status, body] = answers[request.path] ?? [404, '']
    return { status, text: typeof body === 'string' ? body : JSON.stringify(body) }
  }
  return { asked, http: { title: 'validator client', ask } as unknown as SignerHttp }
}

describe('keys', () => {
  const own = { data: [{ validating_pubkey: OWN }, { validating_pubkey: '0x12' }, { pubkey: REMOTE }, 1, null] }
  const remote = { data: [{ pubkey: REMOTE, url: 'https://signer.example' }, { validating_pubkey: OWN }] }
  const keysOf = (status: number, body: unknown = remote) =>
    clientOf({ '/eth/v1/keystores': [200, own], '/eth/v1/remotekeys': [status, body] })

  it('are those in its own hands and in those of its signers, without what is none', async () => {
    const { http, asked } = keysOf(200)
    expect(await askPublicKeys(http, signal)).toEqual(new Set([OWN, REMOTE]))
    expect(asked).toEqual(
      ['/eth/v1/keystores', '/eth/v1/remotekeys'].map((path) => ({
        ...{ method: 'GET', path, maxBytes: 16_777_216, signal },
      })),
    )
  })

  it.each([404, 405, 501])('are its own where it answers with %i that it does not know of others', async (status) => {
    expect(await askPublicKeys(keysOf(status).http, signal)).toEqual(new Set([OWN]))
  })

  it.each([
    [401, 'unauthorized'],
    [403, 'unauthorized'],
    [406, 'status'],
    [500, 'server_error'],
    [502, 'server_error'],
  ])('cannot be told where it answers with %i for those of its signers', async (status, fault) => {
    expect(await faultOf(askPublicKeys(keysOf(status).http, signal))).toBe(fault)
  })

  it.each([
    [404, 'unknown_key'],
    [501, 'server_error'],
  ])('cannot be told where it answers with %i for its own', async (status, fault) => {
    const { http, asked } = clientOf({ '/eth/v1/keystores': [status, own] })
    expect(await faultOf(askPublicKeys(http, signal))).toBe(fault)
    expect(await faultOf(askWhetherUp(http, signal))).toBe(fault)
    expect(asked.length).toBe(2)
  })

  it.each(['', '{}', '[]', 'null', '"data"', '{"data":{}}', '{"data":null}'])('are not in %j', async (text) => {
    const client = () => clientOf({ '/eth/v1/keystores': [200, text] }).http
    expect(await faultOf(askPublicKeys(client(), signal))).toBe('invalid')
    expect(await faultOf(askWhetherUp(client(), signal))).toBe('invalid')
    expect(await faultOf(askPublicKeys(keysOf(200, text).http, signal))).toBe('invalid')
  })

  it('are not in what holds more than 400,000 values', async () => {
    const client = (values: number) =>
      clientOf({ '/eth/v1/keystores': [200, { data: Array(values - 2).fill(0) }] }).http
    expect(await faultOf(askWhetherUp(client(400_000), signal))).toBeUndefined()
    expect(await faultOf(askWhetherUp(client(400_001), signal))).toBe('invalid')
  })
})

describe('an exit', () => {
  const path = `/eth/v1/validator/${OWN}/voluntary_exit?epoch=194048`
  const exit = (message: object, signature: unknown = SIGNATURE) => ({ message, signature })
  const right = { epoch: '194048', validator_index: '7' }
  const askFor = (body: unknown, status = 200) => askExit(clientOf({ [path]: [status, body] }).http, OWN, EXIT, signal)

  it('is asked for at its epoch, and no more of the answer is read than it takes', async () => {
    const { http, asked } = clientOf({ [path]: [200, { data: exit(right) }] })
    expect(await askExit(http, OWN, EXIT, signal)).toEqual(new Uint8Array(96).fill(0xee))
    expect(asked).toEqual([{ method: 'POST', path, maxBytes: 4096, signal }])
  })

  it('may stand in no object around it', async () => {
    expect(await askFor(exit(right))).toEqual(new Uint8Array(96).fill(0xee))
  })

  it.each<[string, unknown]>([
    ['without an epoch', { data: exit({ validator_index: '7' }) }],
    ['without an index', { data: exit({ epoch: '194048' }) }],
    ['with numbers', { data: exit({ epoch: 194_048, validator_index: 7 }) }],
    ['with a number that is none', { data: exit({ epoch: '194048', validator_index: '07' }) }],
    ['without a message', { data: { signature: SIGNATURE } }],
    ['with no message', { data: { message: null, signature: SIGNATURE } }],
    ['without a signature', { data: { message: right } }],
    ['with half a signature', { data: exit(right, SIGNATURE.slice(0, 96)) }],
    ['with a signature that is no text', { data: exit(right, 1) }],
    ['that is none', 'null'],
    ['that is no JSON', SIGNATURE],
    ['of more values than any client writes', { data: exit(right), more: Array(94).fill(0) }],
  ])('%s is none', async (_, body) => {
    expect(await faultOf(askFor(body))).toBe('invalid')
  })

  it('may have a hundred values', async () => {
    expect(await faultOf(askFor({ data: exit(right), more: Array(93).fill(0) }))).toBeUndefined()
  })

  it.each([
    [{ epoch: '194048', validator_index: '8' }, /of validator index 8 where that of 7/],
    [{ epoch: '194049', validator_index: '7' }, /of epoch 194049 where that of 194048/],
    [{ epoch: '18446744073709551615', validator_index: '7' }, /of epoch 18446744073709551615/],
  ])('of %j is another one', async (message, words) => {
    await expect(askFor({ data: exit(message) })).rejects.toMatchObject({
      ...{ fault: 'wrong_message', message: expect.stringMatching(words) },
    })
  })

  it.each([
    [404, 'unknown_key'],
    [405, 'status'],
    [501, 'server_error'],
  ])('that is answered with %i is refused', async (status, fault) => {
    expect(await faultOf(askFor({ data: exit(right) }, status))).toBe(fault)
  })
})
