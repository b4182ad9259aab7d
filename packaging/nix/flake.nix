{
  description = "The memory of a whole job: every process it starts, totals over time, peaks";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.callPackage ./package.nix { };
      });

      # The build itself tries the program; this runs it as it is installed.
      checks = each (pkgs: {
        run = pkgs.runCommand "memwatch-run" { } ''
          ${pkgs.lib.getExe self.packages.${pkgs.system}.default} run --json -- true >$out
          ${pkgs.lib.getExe pkgs.jq} --exit-status '.exit_code == 0' $out
        '';
      });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.system}.default ];
          packages = [
            pkgs.clang-tools
            pkgs.ruff
            pkgs.mypy
          ];
        };
      });
    };
}
