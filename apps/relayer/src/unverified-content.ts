/** Content of IPFS that its CID does not prove. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { Verification } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import type { RelayerConfig } from './config.ts'
import type { Context } from './context.ts'

/**
 * Refuses it where real money is at stake, and warns elsewhere: the gateway may be hostile. Several that agree may be as hostile.
 *
 * @param what without an article, as the log names it
 * @throws {ChainError} IPFS_UNVERIFIED
 */
export function judgeUnverified(
  { config, logger }: { config: Pick<RelayerConfig, 'network'> } & Pick<Context, 'logger'>,
  { what, cid, verification }: { what: string; cid: string; verification: Verification },
): void {
  if (verification === 'verified') return
  if (hasRealStake(config.network))
    throw new ChainError(
      'IPFS_UNVERIFIED',
      `the ${what} ${cid} could not be checked against its CID: set a gateway in IPFS_FETCH_ENDPOINTS that serves raw blocks`,
    )
  logger.warn({ cid }, `${what} could not be checked against its CID and only one gateway is set`)
}
