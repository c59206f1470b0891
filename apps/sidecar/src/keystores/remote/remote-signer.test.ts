import { toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { expect, it } from 'vitest'
import { createTestKeys } from '../../../../../test/support/keys/keys.ts'
import type { KeyShare } from '../keystore.ts'
import { createKeystoreElsewhere } from './remote-signer.ts'

const [validator, splitAnew] = createTestKeys(2, { nodes: 2, threshold: 2 })

/** Key shares of the first node, whose source says what the test has set. */
function keystoreOf(found: KeyShare[]) {
  const asked: string[] = []
  const parts = {
    engine: createBlstEngine(),
    pool: {
      publicKeys: async () => new Set(),
      sign: async ({ publicKey }: { publicKey: string }) => void asked.push(publicKey),
    },
    source: async () => () => ({ found: [...found] }),
    ask: () => {},
  }
  const keystore = createKeystoreElsewhere(parts as unknown as Parameters<typeof createKeystoreElsewhere>[0])
  return { keystore, asked, reload: () => keystore.reload(new AbortController().signal) }
}

/** The key share of the first node of the first validator, split as that of `split` is. */
function shareOf(split: typeof validator, shareIndex = 1): KeyShare {
  if (validator === undefined || split === undefined) throw new Error('no keys')
  return {
    validatorPublicKey: toHex(validator.publicKey),
    shareIndex,
    publicKeyShares: split.shares.map(({ publicKey }, position) => ({
      share_index: position + 1,
      public_key_share: toHex(publicKey),
    })),
    withdrawalAddress: undefined,
  }
}

it('takes key shares as they are now: one of a validator that was split anew is another one', async () => {
  const found = [shareOf(validator)]
  const { keystore, asked, reload } = keystoreOf(found)
  expect([await reload(), await reload()]).toEqual([true, false])
  const [before] = keystore.keyShares
  found[0] = shareOf(splitAnew)
  expect([await reload(), await reload()]).toEqual([true, false])
  expect(keystore.keyShares).toEqual(found)
  for (const keyShare of keystore.keyShares)
    await keystore.sign({ keyShare, signingRoot: new Uint8Array(32) } as never, new AbortController().signal)
  expect(asked).toEqual([shareOf(splitAnew).publicKeyShares[0]?.public_key_share])
  expect(asked).not.toEqual([before?.publicKeyShares[0]?.public_key_share])
  found.push(shareOf(splitAnew, 2))
  expect([await reload(), await reload()]).toEqual([true, false])
  // One of two is another one.
  found[0] = shareOf(validator)
  expect([await reload(), await reload()]).toEqual([true, false])
  expect(keystore.keyShares).toEqual(found)
  const other = found.pop()
  expect([await reload(), keystore.keyShares.length]).toEqual([true, 1])
  await expect(keystore.sign({ keyShare: other } as never, new AbortController().signal)).rejects.toThrow('not held')
})
