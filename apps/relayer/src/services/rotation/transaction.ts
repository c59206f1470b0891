/**
 * The transaction of a rotation, by a wallet given for that purpose (ROTATION_WALLET_KEY_FILE).
 *
 * It is signed and stored whole before it is sent, and sent again as it is until its deadline: a process killed in between finds it
 * in the database. After the deadline the Keeper refuses it for ever, so only then another one takes its place.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { Fees, SignedTransaction, TransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import {
  chooseFees,
  countTransactions,
  createTransactionWallet,
  estimateGas,
  readTransaction,
  sendRaw,
} from '@dvt-relayer/chain/execution/transaction.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import type { RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import { findTransactions, storeTransaction } from '@dvt-relayer/db/queries/rotations.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { openKey } from '../registrations/wallet-key.ts'

const WEI_PER_GWEI = 1_000_000_000n
/** Stored transactions that are looked at: more than can be under way. */
const RECENT = 200

/** The sending wallet of the settings, if there is one. @throws {BootError} ROTATION_WALLET_INVALID */
export async function openRotationWallet(
  config: Pick<RelayerConfig, 'rotation'>,
): Promise<TransactionWallet | undefined> {
  if (config.rotation.wallet === undefined) return undefined
  const settings = {
    key: 'ROTATION_WALLET_KEY_FILE',
    password: 'ROTATION_WALLET_PASSWORD_FILE',
    code: 'ROTATION_WALLET_INVALID',
  }
  return openKey(config.rotation.wallet, settings, createTransactionWallet)
}

/** What became of the wish to send: sent; too dear for the cap; left alone because another process was faster. */
export type Sending = 'sent' | 'too_dear' | 'overtaken'

/** Creates the part of the service that sends. */
export function createRotationSender(context: Pick<Context, 'config' | 'db' | 'chain' | 'events'>) {
  const { db, events } = context
  const { execution } = context.chain
  const { network, rotation } = context.config
  const mostWei = BigInt(rotation.maxFeeGwei) * WEI_PER_GWEI

  async function send(
    { raw }: Pick<SignedTransaction, 'raw'>,
    vault: Uint8Array,
    isNew: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await sendRaw(execution, raw, signal)
    } catch (error) {
      // It stands in the database and is sent again. A node refuses what it has already, which is no news.
      const isRefused = error instanceof ChainError && error.code === 'EXECUTION_REFUSED'
      if (!isRefused && !(error instanceof HttpError)) throw error
      if (isNew) events.rotationNotTaken(vault, error)
    }
  }

  return {
    /** Whether the chain asks for more than the cap. */
    isTooDear: async (signal: AbortSignal): Promise<boolean> =>
      (await chooseFees(execution, mostWei, undefined, signal)) === undefined,

    /**
     * Whether the stored transaction has come to its end by a final block: its nonce is used there, by itself or by another. Where the
     * vault's nonce in the same block is as it was, it was refused, and is never carried out.
     */
    async isSpent(
      { transaction }: Pick<RotationRow, 'transaction'>,
      finalHash: string,
      signal: AbortSignal,
    ): Promise<boolean> {
      if (transaction === null) return false
      const { from, nonce } = await readTransaction(transaction)
      return from !== undefined && (await countTransactions(execution, from, signal, finalHash)) > nonce
    },

    /** Sends the stored transaction once more. */
    again: (row: RotationRow, vault: Uint8Array, signal: AbortSignal): Promise<void> =>
      row.transaction === null ? Promise.resolve() : send({ raw: row.transaction }, vault, false, signal),

    /**
     * Signs, stores and sends a call to the Keeper. The caller has seen that the rotation's earlier transaction, if there is one, cannot
     * be carried out any more.
     *
     * @param update.now of the newest block, Unix seconds
     */
    async send(
      wallet: TransactionWallet,
      row: Pick<RotationRow, 'id' | 'transactionHash'>,
      update: { vault: Uint8Array; data: `0x${string}`; deadline: number; now: number },
      signal: AbortSignal,
    ): Promise<Sending> {
      const call = { to: network.keeper, data: update.data }
      const gas = await estimateGas(execution, wallet.address, call, signal)
      const { nonce, replaced } = await findNonce(context, wallet, row.id, update.now, signal)
      const fees = await chooseFees(execution, mostWei, replaced, signal)
      if (fees === undefined) return 'too_dear'
      const signed = await wallet.sign({ ...call, ...fees, chainId: network.chainId, nonce, gas })
      const isOurs = await storeTransaction(db, row.id, row.transactionHash, { ...signed, deadline: update.deadline })
      if (!isOurs) return 'overtaken'
      events.rotationSent(update.vault, signed.hash, wallet.address)
      await send(signed, update.vault, true, signal)
      return 'sent'
    },
  }
}

/**
 * The nonce of the wallet's next transaction: the first that no other open rotation's transaction has, unless that one's deadline is
 * over (nobody may ever send another in its place, and all after it would wait for it); and the fees of what may still wait under it.
 */
async function findNonce(
  { db, chain: { execution } }: Pick<Context, 'db' | 'chain'>,
  wallet: TransactionWallet,
  rotationId: number,
  now: number,
  signal: AbortSignal,
) {
  const count = await countTransactions(execution, wallet.address, signal)
  const stored = await Promise.all(
    (await findTransactions(db, RECENT)).map(async (row) => ({
      ...row,
      ...(await readTransaction(row.transaction)),
    })),
  )
  const own = stored.filter(({ from }) => from === wallet.address)
  const isWaiting = (row: (typeof own)[number]) => row.isOpen && row.deadline >= now && row.rotationId !== rotationId
  const taken = new Set(own.filter(isWaiting).map((row) => row.nonce))
  let nonce = count
  while (taken.has(nonce)) nonce++
  const replaced = own
    .filter((row) => row.nonce === nonce)
    .reduce<Fees | undefined>((most, row) => (row.maxFeePerGas > (most?.maxFeePerGas ?? 0n) ? row : most), undefined)
  return { nonce, replaced }
}
