import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { describe, expect, it } from 'vitest'
import { findValidators, type KnownValidators, readForFit } from './fit-validators.ts'

const keys = (count: number) => Array.from({ length: count }, (_, position) => new Uint8Array(48).fill(position))

/** A registry that knows nobody, and how many keys it was asked for. */
function emptyRegistry() {
  const asked: number[] = []
  const findNone = async (publicKeys: readonly Uint8Array[]) => {
    asked.push(publicKeys.length)
    return new Map()
  }
  return { asked, registry: { findValidators: findNone } as unknown as Parameters<typeof findValidators>[0] }
}

describe('keys of one request', () => {
  it('are looked up to the last that a request may have, each list by itself', async () => {
    const { asked, registry } = emptyRegistry()
    await findValidators(registry, 3, keys(3))
    await findValidators(registry, 3, keys(3), keys(3))
    expect(asked).toEqual([3, 6])
  })

  it.each([
    ['one more', [4]],
    ['one more in the second list', [1, 4]],
    ['one more in the first list', [4, 1]],
  ])('are refused before anybody is asked: %s', async (_, counts) => {
    const { asked, registry } = emptyRegistry()
    await expect(findValidators(registry, 3, ...counts.map(keys))).rejects.toMatchObject({
      code: 'TOO_MANY_KEYS',
      message: expect.stringContaining('at most 3 public keys in one request, this one has 4'),
    })
    expect(asked).toEqual([])
  })
})

describe('the vault', () => {
  const VAULT = new Uint8Array(20).fill(1)
  const [unknown, registered, strange] = keys(3)
  if (unknown === undefined || registered === undefined || strange === undefined) throw new Error('no keys')
  const validator = { withdrawalCredentials: toHex(withdrawalCredentials('0x02', VAULT)), status: 'active_ongoing' }
  const validators = new Map([registered, strange].map((key) => [toHex(key) as string, validator]))
  const known = { validators, pending: new Map() } as unknown as KnownValidators
  const needs = { statuses: ['active_ongoing'], type: '0x02', isCompounding: true } as const

  /** What is asked of it for these keys, and the refusal. */
  async function asking(...publicKeys: readonly Uint8Array[]) {
    const asked: string[][] = []
    const read = async (these: readonly Uint8Array[]) => {
      asked.push(these.map((key) => toHex(key)))
      return { nonceRoot: new Uint8Array(32), isCompounding: (key: Uint8Array) => key === registered }
    }
    const refusal = await readForFit(VAULT, known, { list: 'public_keys', publicKeys, needs: () => needs }, read).then(
      () => undefined,
      (error: unknown) => error,
    )
    return { asked, refusal }
  }

  it('is not asked where the beacon chain leaves nothing to ask for', async () => {
    expect(await asking(unknown)).toMatchObject({
      asked: [],
      refusal: { code: 'VALIDATORS_REFUSED', failures: [{ index: 0, code: 'VALIDATOR_UNKNOWN' }] },
    })
  })

  it('is asked for those alone that are fit there, and all that are not are named', async () => {
    const { asked, refusal } = await asking(registered, unknown, strange)
    expect(asked).toEqual([[toHex(registered), toHex(strange)]])
    const failures = [
      { index: 1, code: 'VALIDATOR_UNKNOWN' },
      { index: 2, code: 'VALIDATOR_UNREGISTERED' },
    ]
    expect(refusal).toMatchObject({ code: 'VALIDATORS_REFUSED', failures })
    expect((await asking(registered)).refusal).toBeUndefined()
  })
})
