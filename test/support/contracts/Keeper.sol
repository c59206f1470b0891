// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// What the Keeper announces, and how it checks the oracles' signatures: for tests only.
///
/// Anybody may call what oracles have signed; the signatures alone decide. Only the owner, who is whoever deployed it, announces a
/// config, says who the oracles are, and that there are rewards.
contract Keeper {
    event ConfigUpdated(string configIpfsHash);
    event OraclesUpdated(address[] oracles, uint256 minOracles);
    event RewardsUpdated(uint256 nonce);
    event ValidatorsApproval(address indexed vault, string exitSignaturesIpfsHash);
    event ExitSignaturesUpdated(
        address indexed caller, address indexed vault, uint256 nonce, string exitSignaturesIpfsHash
    );

    error NotOwner();
    error InvalidOracles();
    error DeadlineExpired();
    error InvalidSignaturesLength();
    error InvalidOracle();

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant UPDATE_TYPE =
        keccak256("KeeperValidators(address vault,string exitSignaturesIpfsHash,uint256 nonce,uint256 deadline)");
    bytes32 private constant REGISTRATION_TYPE = keccak256(
        "KeeperValidators(bytes32 validatorsRegistryRoot,address vault,bytes validators,string exitSignaturesIpfsHash,uint256 deadline)"
    );
    /// Half the order of secp256k1: of the two valid values of s only the lower one is taken.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    uint256 private constant SIGNATURE_LENGTH = 65;

    address public immutable owner = msg.sender;
    uint256 public validatorsMinOracles;
    /// What the oracles sign next for a vault.
    mapping(address => uint256) public exitSignaturesNonces;
    /// How often rewards were announced.
    uint256 private rewardsUpdates;
    /// Of a vault that has registered validators: what rewardsNonce was when it harvested last.
    mapping(address => uint256) public rewardsNonces;
    /// Each list of oracles is a generation of its own, so that a new list leaves nobody of the old one.
    uint256 private generation;
    mapping(uint256 => mapping(address => bool)) private oraclesOf;

    modifier onlyOwner() {
        require(msg.sender == owner, NotOwner());
        _;
    }

    function updateConfig(string calldata configIpfsHash) external onlyOwner {
        emit ConfigUpdated(configIpfsHash);
    }

    /// Replaces all oracles, and how many of them must sign.
    function setOracles(address[] calldata oracles, uint256 minOracles) external onlyOwner {
        require(minOracles > 0 && minOracles <= oracles.length, InvalidOracles());
        generation++;
        for (uint256 i = 0; i < oracles.length; i++) {
            require(oracles[i] != address(0) && !isOracle(oracles[i]), InvalidOracles());
            oraclesOf[generation][oracles[i]] = true;
        }
        validatorsMinOracles = minOracles;
        emit OraclesUpdated(oracles, minOracles);
    }

    /// Announces rewards; the oracles of the real one sign them.
    function updateRewards() external onlyOwner {
        rewardsUpdates++;
        emit RewardsUpdated(rewardsNonce());
    }

    function rewardsNonce() public view returns (uint256) {
        return rewardsUpdates + 1;
    }

    /// Called by the vault: it has taken what was announced.
    function harvest() external {
        if (isCollateralized(msg.sender)) rewardsNonces[msg.sender] = rewardsNonce();
    }

    /// Whether a vault has registered validators.
    function isCollateralized(address vault) public view returns (bool) {
        return rewardsNonces[vault] != 0;
    }

    /// Whether a vault with validators is two announcements behind; one is allowed.
    function isHarvestRequired(address vault) external view returns (bool) {
        return isCollateralized(vault) && rewardsNonces[vault] + 1 < rewardsNonce();
    }

    function isOracle(address account) public view returns (bool) {
        return oraclesOf[generation][account];
    }

    /// Called by the vault: the oracles have approved that it registers these validators over this root.
    function approveValidators(
        bytes32 validatorsRegistryRoot,
        bytes calldata validators,
        string calldata exitSignaturesIpfsHash,
        uint256 deadline,
        bytes calldata oraclesSignatures
    ) external {
        checkSignatures(
            keccak256(
                abi.encode(
                    REGISTRATION_TYPE,
                    validatorsRegistryRoot,
                    msg.sender,
                    keccak256(validators),
                    keccak256(bytes(exitSignaturesIpfsHash)),
                    deadline
                )
            ),
            deadline,
            oraclesSignatures
        );
        if (!isCollateralized(msg.sender)) rewardsNonces[msg.sender] = rewardsNonce();
        emit ValidatorsApproval(msg.sender, exitSignaturesIpfsHash);
    }

    function updateExitSignatures(
        address vault,
        uint256 deadline,
        string calldata exitSignaturesIpfsHash,
        bytes calldata oraclesSignatures
    ) external {
        uint256 nonce = exitSignaturesNonces[vault];
        checkSignatures(
            keccak256(abi.encode(UPDATE_TYPE, vault, keccak256(bytes(exitSignaturesIpfsHash)), nonce, deadline)),
            deadline,
            oraclesSignatures
        );
        exitSignaturesNonces[vault] = nonce + 1;
        emit ExitSignaturesUpdated(msg.sender, vault, nonce, exitSignaturesIpfsHash);
    }

    /// Exactly as many signatures as are needed, in ascending order of their oracles: none counts twice.
    function checkSignatures(bytes32 content, uint256 deadline, bytes calldata signatures) private view {
        require(deadline >= block.timestamp, DeadlineExpired());
        uint256 needed = validatorsMinOracles;
        require(needed > 0 && signatures.length == needed * SIGNATURE_LENGTH, InvalidSignaturesLength());
        // Not kept: the code can be put at another address.
        bytes32 domain =
            keccak256(abi.encode(DOMAIN_TYPE, keccak256("KeeperOracles"), keccak256("1"), block.chainid, address(this)));
        bytes32 digest = keccak256(bytes.concat(hex"1901", domain, content));
        address last;
        for (uint256 i = 0; i < needed; i++) {
            bytes calldata signature = signatures[i * SIGNATURE_LENGTH:(i + 1) * SIGNATURE_LENGTH];
            bytes32 s = bytes32(signature[32:64]);
            // ecrecover gives 0 for a v other than 27 and 28, which is below every oracle.
            address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), s);
            require(uint256(s) <= HALF_ORDER && signer > last && isOracle(signer), InvalidOracle());
            last = signer;
        }
    }
}
