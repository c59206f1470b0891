/** Content of IPFS that one gateway gave and that could not be checked against its CID. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { Verification } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import type { RelayerConfig } from './config.ts'
import { isRealMoney } from './config.ts'
import type { Context } from './context.ts'

/**
 * Refuses it where real money is at stake, and warns elsewhere: the gateway may be hostile.
 *
 * @param what without an article, as the log names it
 * @throws {ChainError} IPFS_UNVERIFIED
 */
export function judgeUnverified(
  { config, logger }: { config: Pick<RelayerConfig, 'network'> } & Pick<Context, 'logger'>,
  { what, cid, verification }: { what: string; cid: string; verification: Verification },
): void {
  if (verification !== 'unverified') return
  if (isRealMoney(config.network.name))
    throw new ChainError(
      'IPFS_UNVERIFIED',
      `the ${what} ${cid} could not be checked against its CID: set a second gateway in IPFS_FETCH_ENDPOINTS`,
    )
  logger.warn({ cid }, `${what} could not be checked against its CID and only one gateway is set`)
}
