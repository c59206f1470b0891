import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createRelayer } from './relayer-client.ts'

const signal = new AbortController().signal
const KEY = `0x${'aa'.repeat(48)}`
const exit = (more: object = {}) => ({
  ...{ public_key: KEY, validator_index: 7, is_exit_signature_ready: false, share_indexes_ready: [1] },
  ...{ created_at_timestamp: 0, created_at_string: '', ...more },
})
const validator = {
  ...{ public_key: KEY, validator_index: 7, is_signatures_ready: false, share_indexes_ready: [] },
  ...{ vault: `0x${'11'.repeat(20)}`, amount: 32e9, validator_type: '0x01' },
  ...{ created_at_timestamp: 0, created_at_string: '' },
}
const info = { network: 'hoodi' }

let now = 10_000
beforeEach(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => now)
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** A client of a relayer that gives these answers, the last one for ever; each takes two and a half seconds. */
async function clientOf(keySharesHeld: number, ...answers: (Response | object | string | null)[]) {
  const asked = vi.fn(async (_: URL, __: object) => {
    now += 2500
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    if (answer instanceof Error) throw answer
    if (answer instanceof Response) return answer
    return new Response(typeof answer === 'string' ? answer : JSON.stringify(answer))
  })
  vi.stubGlobal('fetch', asked)
  const events = { itemsDropped: vi.fn(), relayerAsked: vi.fn() }
  const config = { endpoint: new URL('https://relayer.example'), timeoutMs: 60_000 }
  const client = await createRelayer(config as never, events as never, () => keySharesHeld)
  return { client, events, asked }
}
const large = () => new Response('', { headers: { 'content-length': '9000000000' } })

describe('an answer', () => {
  it.each([
    [0, 12_800_000],
    [1, 12_864_000],
    [500, 44_800_000],
    [840, 66_560_000],
    [1_000_000, 67_108_864],
  ])('that is a list is read as far as %i key shares allow', async (keySharesHeld, bytes) => {
    const { client } = await clientOf(keySharesHeld, large())
    await expect(client.getExits({}, signal)).rejects.toThrow(`more than ${bytes} bytes`)
    await expect(client.getValidators({}, signal)).rejects.toThrow(`more than ${bytes} bytes`)
  })

  it('that is a list holds no more values than so many items have', async () => {
    const { client } = await clientOf(0, `{"exits":[${'0,'.repeat(799_998)}0]}`)
    await expect(client.getExits({}, signal)).rejects.toThrow('more than 800000 values')
    const { client: other } = await clientOf(0, `{"exits":[${'0,'.repeat(799_997)}0]}`)
    expect(await other.getExits({}, signal)).toEqual({ exits: [] })
  })

  it('that is none is read as far as what is said of a post', async () => {
    const { client } = await clientOf(1_000_000, large())
    await expect(client.getInfo(signal)).rejects.toThrow('more than 4194304 bytes')
    const post = { share_index: 1, shares: [] }
    await expect(client.postExitSignature(post, signal)).rejects.toThrow('more than 4194304 bytes')
  })
})

describe('a list', () => {
  it('is without the items that are none, and says how many', async () => {
    const strange = [null, 1, 'x', {}, exit({ validator_index: -1 }), exit({ share_indexes_ready: null })]
    const { client, events } = await clientOf(1, { exits: [exit(), ...strange], revision: 5 })
    expect(await client.getExits({}, signal)).toEqual({ exits: [exit()], revision: 5 })
    expect(events.itemsDropped.mock.calls).toEqual([[6]])
  })

  it('that is right is taken as it is', async () => {
    const page = { whole: true, next: 40, gone: [KEY], revision: 0 }
    const { client, events } = await clientOf(1, { exits: [exit()], ...page }, { validators: [validator], ...page })
    expect(await client.getExits({}, signal)).toEqual({ exits: [exit()], ...page })
    expect(await client.getValidators({}, signal)).toEqual({ validators: [validator], ...page })
    expect(events.itemsDropped).not.toHaveBeenCalled()
  })

  it('is without the share indexes that cannot be', async () => {
    const strange = [0, 1, 2 ** 53, 1.5, '3', null, -1, 3]
    const lists = { share_indexes_ready: strange, share_indexes_unverified: strange, share_indexes_rejected: [2] }
    const { client, events } = await clientOf(1, { exits: [exit(lists)] })
    const { exits } = await client.getExits({}, signal)
    expect(exits).toEqual([
      exit({ share_indexes_ready: [1, 3], share_indexes_unverified: [1, 3], share_indexes_rejected: [2] }),
    ])
    expect(events.itemsDropped).not.toHaveBeenCalled()
  })

  it.each([-1, 1.5, '5', null, 2 ** 53])('of the revision %j has none', async (revision) => {
    const { client } = await clientOf(1, { exits: [exit()], revision, whole: true, next: 40 })
    expect(await client.getExits({}, signal)).toEqual({ exits: [exit()] })
  })

  it('is no page where it does not say of what', async () => {
    const { client } = await clientOf(1, { exits: [], revision: 5, whole: 'yes', next: 40, gone: [KEY] })
    expect(await client.getExits({}, signal)).toEqual({ exits: [], revision: 5 })
  })

  it.each(['null', '5', '"x"', '[]', '{}', '{"exits":{}}', '{"validators":[]}'])('is not %s', async (text) => {
    const { client, events } = await clientOf(1, text)
    await expect(client.getExits({}, signal)).rejects.toMatchObject({ code: 'RELAYER_ANSWER_INVALID' })
    expect(events.itemsDropped).not.toHaveBeenCalled()
  })

  it('goes on only from what this relayer has said of it', async () => {
    const { client, asked } = await clientOf(1, { exits: [], validators: [], revision: 5, whole: true })
    for (const query of [{ after: 5 }, { from: 5 }])
      await expect(client.getExits(query, signal)).rejects.toThrow('/exits is of another relayer now')
    expect(asked).not.toHaveBeenCalled()
    await client.getExits({ limit: 10 }, signal)
    await client.getExits({ after: 5 }, signal)
    await client.getExits({ from: 5 }, signal)
    await expect(client.getValidators({ after: 5 }, signal)).rejects.toThrow('/validators is of another relayer now')
    expect(asked).toHaveBeenCalledTimes(3)
  })

  it('that failed says nothing to go on from', async () => {
    const { client } = await clientOf(1, new Response('', { status: 500 }))
    await expect(client.getExits({}, signal)).rejects.toMatchObject({ status: 500 })
    await expect(client.getExits({ after: 5 }, signal)).rejects.toMatchObject({ code: 'RELAYER_ANSWER_INVALID' })
  })
})

describe('a request', () => {
  it('is counted by what it asks for, with its outcome and the seconds it took', async () => {
    const { client, events } = await clientOf(1, { exits: [], validators: [], ...info })
    const post = { share_index: 1, shares: [] }
    await client.getInfo(signal)
    await client.getExits({}, signal)
    await client.getValidators({}, signal)
    await client.postExitSignature(post, signal)
    await client.postSignatures(post, signal)
    await client.getWhoami(signal).catch(() => {})
    expect(events.relayerAsked.mock.calls).toEqual(
      ['info', 'exits', 'validators', 'exit_signature', 'signatures', 'whoami'].map((asked) => [asked, 'ok', 2.5]),
    )
  })

  it('that is given up is not counted', async () => {
    const { client, events } = await clientOf(1, new Error('stopped'))
    await expect(client.getInfo(AbortSignal.abort())).rejects.toMatchObject({ code: 'HTTP_ABORTED' })
    expect(events.relayerAsked).not.toHaveBeenCalled()
  })

  it('that is refused says what the refusal of a key means', async () => {
    const { client, events } = await clientOf(1, new Response('{"code":"NODE_UNPINNED"}', { status: 403 }))
    await expect(client.getInfo(signal)).rejects.toThrow('CLUSTER_LOCK_HASHES there')
    expect(events.relayerAsked.mock.calls).toEqual([['info', 'status', 2.5]])
  })

  it('to post may be answered with what failed, or with no word at all', async () => {
    const failed = { failures: [{ index: 0, code: 'SIGNATURE_INVALID', message: 'sorry' }] }
    const refusal = () => new Response(JSON.stringify(failed), { status: 422 })
    const { client } = await clientOf(1, refusal(), 'fine', refusal())
    const post = { share_index: 1, shares: [] }
    expect(await client.postSignatures(post, signal)).toEqual(failed)
    expect(await client.postSignatures(post, signal)).toEqual({})
    await expect(client.getExits({}, signal)).rejects.toMatchObject({ status: 422 })
  })
})
