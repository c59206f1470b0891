/** The routes: one contract for server, client, OpenAPI document and tests. */

import type { TSchema } from 'typebox'
import { Type } from 'typebox'
import {
  ConsolidateRequest,
  ExitSharesParams,
  ExitSharesQuery,
  ExitSharesResponse,
  ExitSignatureRequest,
  ExitsResponse,
  FundRequest,
  Health,
  Info,
  ListQuery,
  ManagerSignatureResponse,
  OracleSharesParams,
  OracleSharesResponse,
  OwnerCopiesQuery,
  OwnerCopiesResponse,
  Ready,
  RegisterRequest,
  RegisterResponse,
  RotationResponse,
  RotationUpdate,
  SharesResponse,
  SignaturesRequest,
  ValidatorListResponse,
  ValidatorsRequest,
  ValidatorsResponse,
  VaultParams,
  VaultQuery,
  VaultResponse,
  VaultsResponse,
  WithdrawRequest,
} from './schemas.ts'

/** Who may call, where tokens are set. `public` needs no token even then; `admin` may call everything. */
export const ROLES = ['operator', 'sidecar', 'oracle', 'admin'] as const
export type Role = (typeof ROLES)[number]
export type Access = 'public' | readonly Role[]

/** One route of the relayer. */
export interface RouteContract {
  method: 'GET' | 'POST'
  path: string
  summary: string
  access: Access
  /** Of the `:parts` of the path. */
  params?: TSchema
  query?: TSchema
  body?: TSchema
  response: TSchema
}

/** Keeps the exact schema types of a table of routes. */
const contracts = <const T extends Readonly<Record<string, RouteContract>>>(table: T): T => table

export const routes = contracts({
  getInfo: {
    method: 'GET',
    path: '/info',
    summary: 'The network this relayer works for',
    access: ROLES,
    response: Info,
  },
  postValidators: {
    method: 'POST',
    path: '/validators',
    summary: 'Ask for the exits of these validators, again and again until all are ready (generation 3)',
    access: ['operator'],
    body: ValidatorsRequest,
    response: ValidatorsResponse,
  },
  getExits: {
    method: 'GET',
    path: '/exits',
    summary: 'Every live exit, for sidecars; waits for changes when asked to (generation 3)',
    access: ['sidecar'],
    query: ListQuery,
    response: ExitsResponse,
  },
  postExitSignature: {
    method: 'POST',
    path: '/exit-signature',
    summary: 'Hand in partial exit signatures of one share index (generation 3)',
    access: ['sidecar'],
    body: ExitSignatureRequest,
    response: SharesResponse,
  },
  postRegister: {
    method: 'POST',
    path: '/register',
    summary: 'Ask for everything that registering validators in a vault needs, until all is ready (generation 4)',
    access: ['operator'],
    body: RegisterRequest,
    response: RegisterResponse,
  },
  postFund: {
    method: 'POST',
    path: '/fund',
    summary: 'Ask for the signature that lets a vault add to its validators (generation 4)',
    access: ['operator'],
    body: FundRequest,
    response: ManagerSignatureResponse,
  },
  postWithdraw: {
    method: 'POST',
    path: '/withdraw',
    summary: 'Ask for the signature that lets a vault withdraw from its validators (generation 4)',
    access: ['operator'],
    body: WithdrawRequest,
    response: ManagerSignatureResponse,
  },
  postConsolidate: {
    method: 'POST',
    path: '/consolidate',
    summary: 'Ask for the signature that lets a vault consolidate its validators (generation 4)',
    access: ['operator'],
    body: ConsolidateRequest,
    response: ManagerSignatureResponse,
  },
  getValidators: {
    method: 'GET',
    path: '/validators',
    summary:
      'Every validator with a live exit and deposit, for sidecars; waits for changes when asked to (generation 4)',
    access: ['sidecar'],
    query: ListQuery,
    response: ValidatorListResponse,
  },
  postSignatures: {
    method: 'POST',
    path: '/signatures',
    summary: 'Hand in partial exit and deposit signatures of one share index (generation 4)',
    access: ['sidecar'],
    body: SignaturesRequest,
    response: SharesResponse,
  },
  getExitShares: {
    method: 'GET',
    path: '/oracles/:oracle/exit-shares',
    summary:
      'The exit signature shares of one oracle, encrypted to it; waits for new ones when asked to. Knows If-None-Match',
    access: ['oracle'],
    params: ExitSharesParams,
    query: ExitSharesQuery,
    response: ExitSharesResponse,
  },
  getOracleShares: {
    method: 'GET',
    path: '/validators/:public_key/oracle-shares',
    summary: 'The oracle shares of one validator, all of them. Knows If-None-Match',
    access: ['operator'],
    params: OracleSharesParams,
    response: OracleSharesResponse,
  },
  getVaults: {
    method: 'GET',
    path: '/vaults',
    summary: 'The vaults of registered validators: how many of these need shares for new oracles, and until when',
    access: ['operator'],
    response: VaultsResponse,
  },
  getVault: {
    method: 'GET',
    path: '/vaults/:vault',
    summary: 'One vault, with its validators that need shares for new oracles',
    access: ['operator'],
    params: VaultParams,
    query: VaultQuery,
    response: VaultResponse,
  },
  getRotation: {
    method: 'GET',
    path: '/vaults/:vault/rotation',
    summary: "How far the renewal of a vault's exit signatures for new oracles is",
    access: ['operator'],
    params: VaultParams,
    response: RotationResponse,
  },
  postRotation: {
    method: 'POST',
    path: '/vaults/:vault/rotation',
    summary: "Gather the oracles' approvals of new exit signatures now, and hand out the transaction",
    access: ['operator'],
    params: VaultParams,
    response: RotationUpdate,
  },
  getOwnerCopies: {
    method: 'GET',
    path: '/vaults/:vault/owner-copies',
    summary: 'The exits of a vault, each encrypted to its owner (OWNER_PUBLIC_KEYS)',
    access: ['operator'],
    params: VaultParams,
    query: OwnerCopiesQuery,
    response: OwnerCopiesResponse,
  },
  getHealth: {
    method: 'GET',
    path: '/health',
    summary: 'Whether the process answers',
    access: 'public',
    response: Health,
  },
  getReady: {
    method: 'GET',
    path: '/ready',
    summary: 'Whether everything the main job needs works',
    access: ROLES,
    response: Ready,
  },
  getMetrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics in the Prometheus text format',
    access: ['admin'],
    response: Type.String(),
  },
  getOpenapi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    access: ROLES,
    response: Type.Unknown(),
  },
})
