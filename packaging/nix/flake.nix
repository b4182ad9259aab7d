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
      each = f: nixpkgs.lib.genAttrs systems (system: f system nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (_: pkgs: {
        default = pkgs.callPackage ./package.nix { };
      });

      # The build itself tries the program; this runs it as it is installed.
      checks = each (system: pkgs: {
        run = pkgs.runCommand "memwatch-run" { } ''
          ${pkgs.lib.getExe self.packages.${system}.default} run --json -- true >$out
          ${pkgs.lib.getExe pkgs.jq} --exit-status '.exit_code == 0' $out
        '';
      });

      devShells = each (system: pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${system}.default ];
          packages = [
            pkgs.clang-tools
            pkgs.ruff
            pkgs.mypy
          ];
        };
      });
    };
}
