import { fromHex } from '@dvt-relayer/common/hex.ts'
import { expect, it } from 'vitest'
import { createKnownLocks } from './known-locks.ts'

const [HERE, REPLACED, STRANGE] = ['11', '22', '33'].map((byte) => fromHex(byte.repeat(32), 32)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const sizes = new Map([
  [HERE, 2],
  [REPLACED, 0],
])
const locks = createKnownLocks({ nodeKeys: { sizeOf: async (lockHash) => sizes.get(lockHash) } })

it('of a lock that another one has replaced, charon is told to take that one', async () => {
  await expect(locks.assertBody(REPLACED, 10)).rejects.toMatchObject({
    code: 'LOCK_UNKNOWN',
    message: expect.stringContaining('was replaced here by another one'),
  })
  await expect(locks.assertBody(STRANGE, 10)).rejects.toMatchObject({
    code: 'LOCK_UNKNOWN',
    message: expect.stringContaining('CLUSTER_LOCK_FILES'),
  })
  await locks.assertBody(HERE, 10)
  await locks.assertExits(HERE, 2)
  await expect(locks.assertExits(HERE, 3)).rejects.toMatchObject({ code: 'TOO_MANY_SHARES' })
})
